import { expect, it } from 'vitest';
import { understandPaste } from '../../src/cli/pasted-arguments.ts';
import { withoutSecrets } from '../../src/cli/secret-arguments.ts';
import { encodeInvite } from '../../src/crypto/invite.ts';
import { createIdentity } from '../../src/crypto/keys.ts';

const INVITE = encodeInvite({
  relayUrls: ['wss://relay.example.org'],
  relayGateKey: createIdentity().public.gate,
  exitSessionKey: createIdentity().public.session,
  exitName: undefined,
  role: 'client',
  peer: createIdentity(),
});
/** At every place, so that a piece also begins with a hyphen, or is short. */
const CUTS = Array.from({ length: INVITE.length - 8 }, (_, i) => i + 7);

it('an invite in two pieces is joined, wherever it was cut and whatever is between the pieces', () => {
  const wrong: [cut: number, understood: readonly string[]][] = [];
  for (const [i, cut] of CUTS.entries()) {
    const [head, tail] = [INVITE.slice(0, cut), INVITE.slice(cut)];
    // Each costs some milliseconds, so each place has one of them.
    const forms = [
      [['client', head, tail], 'client'],
      [['client', '--tether', head, tail, '--json'], 'client --tether'],
      [['client', head, '--tether', tail, '--listen', '127.0.0.1:1'], 'client'],
      [[head, tail], 'client'],
    ] as const;
    for (const [args, expected] of forms.slice(i % forms.length, (i % forms.length) + 1)) {
      // One that begins like an option is none only by chance: 1 in 2,000.
      if (/^--[a-z]/.test(tail)) continue;
      const understood = understandPaste(args);
      const joined = understood.filter((arg) => arg.startsWith('wstun1_')).map((arg) => arg.replace(' ', ''));
      const isRight = joined.join() === INVITE && understood.join(' ').startsWith(expected);
      if (!isRight || understood.includes(tail)) wrong.push([cut, understood]);
    }
  }
  expect(wrong).toEqual([]);
});

it('a whole line that is pasted after "wstun" works like the line', () => {
  expect(understandPaste(['wstun', 'client', INVITE])).toEqual(['client', INVITE]);
  expect(understandPaste([`wstun client ${INVITE}`])).toEqual(['client', `wstun client ${INVITE}`]);
  expect(understandPaste(['--invite-file', INVITE])).toEqual(['--invite-file', INVITE]);
  expect(understandPaste(['relay', '--listen', 'x'])).toEqual(['relay', '--listen', 'x']);
  expect(understandPaste([])).toEqual([]);
});

it('no piece of an invite is in the error message about it', () => {
  for (const cut of CUTS) {
    const [head, tail] = [INVITE.slice(0, cut), INVITE.slice(cut)];
    const shown = withoutSecrets(`error: ${head} nor ${tail}`, ['client', head, tail]);
    for (let at = 7; at + 12 <= INVITE.length; at += 6) expect(shown).not.toContain(INVITE.slice(at, at + 12));
  }
  const rest = INVITE.slice(7);
  expect(withoutSecrets(`error: unknown command '${rest}'`, [rest])).toBe("error: unknown command '…'");
  expect(withoutSecrets("error: unknown option '--lsten'", ['--lsten'])).toBe("error: unknown option '--lsten'");
});

it('hides user names and passwords of URLs in messages', () => {
  const text = "error: option '--via http://ann:s3/cr@t@proxy:1' is odd";
  expect(withoutSecrets(text, [])).toBe("error: option '--via http://…@proxy:1' is odd");
});
