/**
 * The arguments of a command line into which an invite was pasted: with its whole printed line, in two pieces, alone.
 * What the pieces mean is for the commands; here they only come together, and are kept out of what is printed.
 */
import { decodeInvite } from '../crypto/invite.ts';
import { PREFIX } from '../crypto/pasted-text.ts';

/** A mail breaks a line of this length into fewer. */
const MAX_PIECES = 8;
const PIECE = /^(?!--[a-z])[\w-]+$/;

/** Puts the pieces of an invite together, and `client` in front of one that stands alone: what else could be meant. */
export function understandPaste(args: readonly string[]): readonly string[] {
  // "wstun" was typed, and then the whole line pasted.
  const rest = args[0] === 'wstun' ? args.slice(1) : args;
  const joined = joinPieces(rest);
  return holdsInvite(joined[0]) && joined[0]?.startsWith('-') === false ? ['client', ...joined] : joined;
}

/**
 * Whoever complains of an argument quotes it: an invite in the wrong place, or the rest of one. Nothing else that is
 * given here is as long without a mark in it.
 */
export function withoutSecrets(text: string, args: readonly string[]): string {
  const isSecret = args.some(holdsInvite)
    ? (word: string) => PIECE.test(word) && word.length >= 12
    : (word: string) => /^[\w-]{40,}$/.test(word);
  const pieces = args.flatMap((arg) => arg.split(/\s+/)).filter(isSecret);
  const hidden = pieces.reduce((shown, piece) => shown.replaceAll(piece, '…'), text);
  return hidden.replace(/(wstun(?:sk)?1_)[\w-]+/g, '$1…');
}

function holdsInvite(text: string | undefined): boolean {
  return text?.includes(PREFIX) === true;
}

/** A second piece may begin with a hyphen, and would be taken for options. */
function joinPieces(args: readonly string[]): readonly string[] {
  const first = args.findIndex(holdsInvite);
  const start = args[first];
  if (start === undefined || isWhole(start)) return args;
  const behind = args.flatMap((arg, at) => (at > first && PIECE.test(arg) ? [at] : [])).slice(0, MAX_PIECES);
  for (let count = 1; count <= behind.length; count++) {
    const used = behind.slice(0, count);
    const joined = [start, ...used.map((at) => args[at])].join(' ');
    if (isWhole(joined)) return args.flatMap((arg, at) => (at === first ? [joined] : used.includes(at) ? [] : [arg]));
  }
  return args;
}

function isWhole(text: string): boolean {
  try {
    decodeInvite(text);
    return true;
  } catch {
    return false;
  }
}
