import { expect, it } from 'vitest';
import { understandPaste } from '../../src/cli/pasted-arguments.ts';
import { withoutSecrets } from '../../src/cli/secret-arguments.ts';
import { newInvite } from '../support/crypto/invites.ts';

/** One in 40 has a piece that begins like an option. */
function inviteWith(piece: RegExp): string {
  for (;;) {
    const invite = newInvite();
    if (piece.test(invite)) return invite;
  }
}

const INVITE = newInvite();
const INVITES = [
  ['', INVITE],
  [' that has a piece like an option', inviteWith(/--[a-z]/)],
] as const;
/** At every place, so that a piece also begins with a hyphen, or is short. */
const cutsOf = (invite: string): readonly number[] => Array.from({ length: invite.length - 8 }, (_, i) => i + 7);

it.each(INVITES)('an invite%s in two pieces is joined, wherever it was cut and whatever is between', (_, invite) => {
  const wrong: [cut: number, understood: readonly string[]][] = [];
  for (const [i, cut] of cutsOf(invite).entries()) {
    const [head, tail] = [invite.slice(0, cut), invite.slice(cut)];
    // Each costs some milliseconds, so each place has one of them.
    const forms = [
      [['client', head, tail], 'client'],
      [['client', '--tether', head, tail, '--json'], 'client --tether'],
      [['client', head, '--tether', tail, '--listen', '127.0.0.1:1'], 'client'],
      [[head, tail], 'client'],
    ] as const;
    for (const [args, expected] of forms.slice(i % forms.length, (i % forms.length) + 1)) {
      // Nobody can tell the last few letters from an option, if there is no capital one among them.
      if (/^--[a-z][a-z0-9-]*$/.test(tail)) continue;
      const understood = understandPaste(args);
      const joined = understood.filter((arg) => arg.startsWith('wstun1_')).map((arg) => arg.replace(' ', ''));
      const isRight = joined.join() === invite && understood.join(' ').startsWith(expected);
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

it.each(INVITES)('no piece of an invite%s is in the error message about it', (_, invite) => {
  for (const cut of cutsOf(invite)) {
    const [head, tail] = [invite.slice(0, cut), invite.slice(cut)];
    const shown = withoutSecrets(`error: ${head} nor ${tail}`, ['client', head, tail]);
    for (let at = 7; at + 12 <= invite.length; at += 6) expect(shown).not.toContain(invite.slice(at, at + 12));
  }
  const rest = invite.slice(7);
  expect(withoutSecrets(`error: unknown command '${rest}'`, [rest])).toBe("error: unknown command '…'");
  expect(withoutSecrets("error: unknown option '--lsten'", ['--lsten'])).toBe("error: unknown option '--lsten'");
});

it('hides user names and passwords of URLs in messages', () => {
  const text = "error: option '--via http://ann:s3/cr@t@proxy:1' is odd";
  expect(withoutSecrets(text, [])).toBe("error: option '--via http://…@proxy:1' is odd");
});
