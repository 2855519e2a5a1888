/**
 * Finds what may be an invite in what people paste: a whole printed line, a mail, two pieces of one. Pure. Knows the
 * alphabet of an invite and where it says how long it is, not what is in it; whether it is one, its checksum says.
 */

export const PREFIX = 'wstun1_';
/** A mail with all that is around the invite; it is read into memory. */
export const MAX_PASTED_CHARS = 1024 * 1024;
/** Characters that hold the version and the length. */
const HEADER_CHARS = 4;

/**
 * What may stand amid an invite: line breaks, indents, quotes around pieces, marks of a quoted mail, escapes of a chat
 * or a shell.
 */
const GAP = '[\\s"\'`“”„‘’‚«»‹›<>|\\\\]';
const gap = new RegExp(GAP, 'u');
const start = new RegExp([...PREFIX].join(`${GAP}*`), 'gu');
const alphabet = /^[A-Za-z0-9_-]$/;
/** Behind the last character of an invite these would belong to it; any other mark is the text's around it. */
const glued = /^[\w=+/%-]$/;

/** Dashes as word processors and mail programs like them better. */
const DASHES: Readonly<Record<string, string>> = {
  '\u2010': '-',
  '\u2011': '-',
  '\u2012': '-',
  '\u2013': '-',
  '\u2014': '--',
  '\u2212': '-',
};

export interface FoundInvite {
  /**
   * The prefix, and then characters of the alphabet: as many as there are, and no more than it says itself that it has.
   */
  readonly text: string;
  /** Something stood between the characters: some at the end may be of the text behind it. */
  readonly hasGaps: boolean;
  /**
   * `clean`: the text ends, or goes on with something else. `longer`: it goes on as an invite would. `foreign`: amid it
   * is a character that no invite has.
   */
  readonly end: 'clean' | 'longer' | 'foreign';
}

/** In the order of the text; none may be whole. Time is linear in the text's length. */
export function findInvites(pasted: string): FoundInvite[] {
  const text = tidy(pasted);
  const starts = [...text.matchAll(start)];
  return starts.map((match, i) => read(text.slice(match.index + match[0].length, starts[i + 1]?.index)));
}

/**
 * The text without what nobody sees: soft hyphens, zero-width characters, marks of direction; and mended where a mail
 * broke lines.
 */
export function tidy(pasted: string): string {
  return pasted.replace(/[\p{Cf}\p{Mn}]+/gu, '').replace(/=[ \t]*\r?\n/g, '\n');
}

/**
 * How many characters an invite has in all that begins so, its prefix included; undefined where that cannot be told
 * yet.
 */
export function lengthOf(encoded: string): number | undefined {
  if (encoded.length < HEADER_CHARS) return undefined;
  const bytes = Buffer.from(encoded.slice(0, HEADER_CHARS), 'base64url').readUInt16BE(1);
  return PREFIX.length + Math.ceil((bytes * 4) / 3);
}

function read(text: string): FoundInvite {
  let found = PREFIX;
  let whole: number | undefined;
  let hasGaps = false;
  let at = 0;
  const result = (end: FoundInvite['end']): FoundInvite => ({ text: found, hasGaps, end });
  for (const char of text) {
    at += char.length;
    if (whole !== undefined && found.length >= whole) return result(glued.test(char) ? 'longer' : 'clean');
    const meant = DASHES[char] ?? char;
    if (alphabet.test(meant[0] ?? '')) {
      found += meant;
      whole ??= lengthOf(found.slice(PREFIX.length));
    } else if (gap.test(char)) hasGaps = true;
    // Prose has its marks at the ends of words.
    else return result(alphabet.test(text[at] ?? '') ? 'foreign' : 'clean');
  }
  return result('clean');
}
