/** Arguments with a pasted invite: joins its pieces, and keeps them out of messages. Commands decide what they mean. */
import { decodeInvite } from '../crypto/invite.ts';
import { PREFIX } from '../crypto/pasted-text.ts';
import { attempt } from './attempt.ts';

/** Mail programs break an invite into fewer pieces. */
const MAX_PIECES = 8;
const PIECE = /^(?!--[a-z])[\w-]+$/;

/** Joins the pieces of an invite, and puts `client` before an invite without a command. */
export function understandPaste(args: readonly string[]): readonly string[] {
  // The person typed "wstun", and then pasted the whole line.
  const rest = args[0] === 'wstun' ? args.slice(1) : args;
  // What it runs is not ours.
  if (rest[0] === 'run') return rest;
  const joined = joinPieces(rest);
  return holdsInvite(joined[0]) && joined[0]?.startsWith('-') === false ? ['client', ...joined] : joined;
}

/** Removes invites and parts of them, and user info. No other argument has as many letters and digits in a row. */
export function withoutSecrets(text: string, args: readonly string[]): string {
  const isSecret = args.some(holdsInvite)
    ? (word: string) => PIECE.test(word) && word.length >= 12
    : (word: string) => /^[\w-]{40,}$/.test(word);
  const pieces = args.flatMap((arg) => arg.split(/\s+/)).filter(isSecret);
  const hidden = pieces.reduce((shown, piece) => shown.replaceAll(piece, '…'), text);
  return hidden.replace(/(wstun(?:sk)?1_)[\w-]+/g, '$1…').replace(/([a-z]:\/\/)[^\s'"]*@/gi, '$1…@');
}

function holdsInvite(text: string | undefined): boolean {
  return text?.includes(PREFIX) === true;
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

/** The words behind a command, joined: the invite is found in whatever was pasted. */
export function pasted(given: readonly string[]): string | undefined {
  return given.length === 0 ? undefined : given.join(' ');
}
