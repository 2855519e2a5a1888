/** Finds possible invites in what people paste: a whole printed line, a mail, two pieces of one. Pure. */

export const PREFIX = 'wstun1_';
/** A mail with everything around the invite; it is read into memory. */
export const MAX_PASTED_CHARS = 1024 * 1024;
/** Characters that hold the version and the length. */
const HEADER_CHARS = 4;

/** What may interrupt an invite: line breaks, indents, quotes, marks of a quoted mail, escapes of a chat or a shell. */
const GAP = '[\\s"\'`“”„‘’‚«»‹›<>|\\\\]';
const gap = new RegExp(GAP, 'u');
const start = new RegExp([...PREFIX].join(`${GAP}*`), 'gu');
const alphabet = /^[A-Za-z0-9_-]$/;
/** After the last character of an invite these would belong to it; any other mark belongs to the text around it. */
const glued = /^[\w=+/%-]$/;

/** Dashes that word processors and mail programs insert. */
const DASHES: Readonly<Record<string, string>> = {
  '\u2010': '-',
  '\u2011': '-',
  '\u2012': '-',
  '\u2013': '-',
  '\u2014': '--',
  '\u2212': '-',
};

export interface FoundInvite {
  /** The prefix, then characters of the alphabet: as many as there are, and no more than its length says. */
  readonly text: string;
  /** There were gaps between the characters: some at the end may belong to the text after it. */
  readonly hasGaps: boolean;
  /** After it: `clean`: nothing of an invite. `longer`: more of one. `foreign`: within it is no invite's character. */
  readonly end: 'clean' | 'longer' | 'foreign';
}

/** In the order of the text; perhaps none is whole. Takes time linear in the text's length. */
export function findInvites(pasted: string): FoundInvite[] {
  const text = tidy(pasted);
  const starts = [...text.matchAll(start)];
  return starts.map((match, i) => read(text.slice(match.index + match[0].length, starts[i + 1]?.index)));
}

/** Without invisible characters (soft hyphens, zero-width, marks of direction), with a mail's broken lines joined. */
export function tidy(pasted: string): string {
  return pasted.replace(/[\p{Cf}\p{Mn}]+/gu, '').replace(/=[ \t]*\r?\n/g, '\n');
}

/** How many characters an invite that begins so has, prefix included; undefined if too few are known yet. */
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
    // In prose, marks are at the ends of words.
    else return result(alphabet.test(text[at] ?? '') ? 'foreign' : 'clean');
  }
  return result('clean');
}
