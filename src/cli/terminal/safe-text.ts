/**
 * Text that may come from elsewhere (a peer, a proxy, a host name), made safe for a terminal and for a log: it stays on
 * its line, and no character of it acts on the terminal or turns the direction of the text around. Pure.
 */

/** Control characters, line separators, and what is invisible or changes the direction of text. */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;

/** One line. */
export function safeText(text: string): string {
  return text.replace(UNSAFE, shown);
}

/** Several lines that we wrote ourselves, in which a name or an address of others may be. */
export function safeLines(text: string): string {
  return text.split('\n').map(safeText).join('\n');
}

function shown(character: string): string {
  if (character === '\t' || character === '\n' || character === '\r') return ' ';
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}
