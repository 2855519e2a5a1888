/** Arguments with a pasted invite: joins its pieces. Commands decide what they mean. Loads cryptography. */
import { decodeInvite } from '../crypto/invite.ts';
import { attempt } from './attempt.ts';
import { holdsInvite, PIECE } from './secret-arguments.ts';

/** Mail programs break an invite into fewer pieces. */
const MAX_PIECES = 8;

/** Joins the pieces of an invite, and puts `client` before an invite without a command. */
export function understandPaste(args: readonly string[]): readonly string[] {
  // The person typed "wstun", and then pasted the whole line.
  const rest = args[0] === 'wstun' ? args.slice(1) : args;
  // What it runs is not ours.
  if (rest[0] === 'run') return rest;
  const joined = joinPieces(rest);
  return holdsInvite(joined[0]) && joined[0]?.startsWith('-') === false ? ['client', ...joined] : joined;
}

/** A second piece may begin with a hyphen, and would be parsed as options. */
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
  return attempt(() => decodeInvite(text) !== undefined, false);
}
