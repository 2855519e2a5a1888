/** Which arguments may be parts of an invite, and how they stay out of messages. Loads no cryptography. */
import { PREFIX } from '../crypto/pasted-text.ts';

/** A piece may begin with two hyphens, but only a short one has no capital letter and no underscore behind them. */
export const PIECE = /^(?!--[a-z][a-z0-9-]*$)[\w-]+$/;

/** Removes invites and parts of them, and user info. No other argument has as many letters and digits in a row. */
export function withoutSecrets(text: string, args: readonly string[]): string {
  const isSecret = args.some(holdsInvite)
    ? (word: string) => PIECE.test(word) && word.length >= 12
    : (word: string) => /^[\w-]{40,}$/.test(word);
  const pieces = args.flatMap((arg) => arg.split(/\s+/)).filter(isSecret);
  // A part of one, too: of `-vABC…` the flag is taken, and then `-ABC…` is an unknown option.
  const isPart = (word: string) => pieces.some((piece) => piece.includes(word.replace(/^-+/, '')));
  const hidden = text.replace(/[\w-]{12,}/g, (word) => (isPart(word) ? '…' : word));
  return hidden.replace(/(wstun(?:sk)?1_)[\w-]+/g, '$1…').replace(/([a-z]:\/\/)[^\s'"]*@/gi, '$1…@');
}

export function holdsInvite(text: string | undefined): boolean {
  return text?.includes(PREFIX) === true;
}

/** The words behind a command, joined: the invite is found in whatever was pasted. */
export function pasted(given: readonly string[]): string | undefined {
  return given.length === 0 ? undefined : given.join(' ');
}
