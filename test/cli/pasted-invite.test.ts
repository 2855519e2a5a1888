/** The prompt for an invite: whatever is pasted, in whatever pieces, and however it is mistyped. */
import { describe, expect, it } from 'vitest';
import { PastedInvite, type PromptStep } from '../../src/cli/pasted-invite.ts';
import { decodeInvite } from '../../src/crypto/invite.ts';
import { newInvite } from '../support/crypto/invites.ts';

const INVITE = newInvite();

/** Each piece arrives alone; nothing comes for a moment after the last. */
function paste(pieces: readonly string[], prompt = newPrompt()): PromptStep {
  for (const piece of pieces) {
    const step = prompt.handleInput(piece);
    if (step.type !== 'more') return step;
    refuseSecret(step.shown);
  }
  return prompt.handleQuiet();
}

function newPrompt(): PastedInvite {
  return new PastedInvite((text) => void decodeInvite(text));
}

function refuseSecret(shown: string): void {
  const pieces = Array.from({ length: INVITE.length - 7 }, (_, at) => INVITE.slice(at, at + 8));
  expect(pieces.some((piece) => shown.includes(piece))).toBe(false);
}

describe('the prompt for an invite', () => {
  it('finds the invite in a line, a mail, several lines and any pieces, and shows nothing of it', () => {
    const mail = `Hi Alice,\r\rhere it is:\r> wstun client ${INVITE}\r\rBob\r`;
    const wrapped = `${INVITE.slice(0, 70)}\r\n  ${INVITE.slice(70, 140)}\r\n  ${INVITE.slice(140)}\r\n`;
    const bracketed = `\u001b[200~wstun client ${INVITE}\u001b[201~\r`;
    const mistyped = `x\u007fwstun\u0015${INVITE}\r`;
    for (const text of [`${INVITE}\r`, mail, wrapped, bracketed, mistyped])
      for (const size of [1, 7, text.length]) {
        const pieces = text.match(new RegExp(`[^]{1,${size}}`, 'g')) ?? [];
        const step = paste(pieces);
        expect([text, step.type]).toEqual([text, 'found']);
        if (step.type !== 'found') continue;
        refuseSecret(step.shown);
        expect(step.shown).toContain('the checksum fits');
        expect(decodeInvite(step.text)).toEqual(decodeInvite(INVITE));
      }
  });

  it('waits for Enter, and tells how much there is and whether the checksum fits', () => {
    const prompt = newPrompt();
    expect(paste([INVITE.slice(0, 100)], prompt)).toMatchObject({
      shown: expect.stringContaining(`100 of ${INVITE.length} characters; paste the rest`),
    });
    expect(paste([INVITE.slice(100)], prompt)).toEqual({
      type: 'more',
      shown: `${INVITE.length} characters; the checksum fits; press Enter`,
    });
    expect(paste(['\r'], prompt)).toMatchObject({ type: 'found' });
  });

  it('waits for the rest of an invite after the end of a line, until Enter is pressed on an empty one', () => {
    const prompt = newPrompt();
    const half = paste([`${INVITE.slice(0, 100)}\r`], prompt);
    expect(half).toMatchObject({ type: 'more', shown: expect.stringContaining('paste the rest, or press Enter') });
    expect(paste([`${INVITE.slice(100)}\r`], prompt)).toMatchObject({ type: 'found' });
    const other = newPrompt();
    expect(paste([`${INVITE.slice(0, 100)}\r`], other)).toMatchObject({ type: 'more' });
    expect(paste(['\r'], other)).toMatchObject({ type: 'failed', error: { fault: 'invite-incomplete' } });
  });

  it('allows three tries, each with the fault of what was pasted; an empty line is none', () => {
    const prompt = newPrompt();
    const other = INVITE.at(-1) === 'A' ? 'B' : 'A';
    expect(paste(['\r'], prompt)).toEqual({ type: 'more', shown: '' });
    expect(paste(['hello\r'], prompt)).toMatchObject({ error: { fault: 'invite-malformed' }, isLast: false });
    const wrong = paste([`${INVITE.slice(0, 50)}${INVITE[50] === 'A' ? 'B' : 'A'}${INVITE.slice(51)}\r`], prompt);
    expect(wrong).toMatchObject({ error: { fault: 'invite-mistyped' }, isLast: false });
    expect(paste([`${INVITE.slice(0, -1)}${other}${other}\r`], prompt)).toMatchObject({ isLast: true });
  });

  it('ends with Ctrl-C, and with Ctrl-D where nothing was typed, and rejects what is far too long', () => {
    expect(paste([`${INVITE}\u0003`])).toEqual({ type: 'interrupted' });
    expect(paste(['\u0004'])).toEqual({ type: 'closed' });
    expect(paste([`${INVITE}\u0004\r`]).type).not.toBe('closed');
    expect(paste(['x'.repeat(70_000)])).toMatchObject({ type: 'failed', error: { fault: 'invite-malformed' } });
  });
});
