/** How many columns of a terminal a text takes, and texts cut to fit. Texts are safe (safe-text.ts). Pure. */

/** East Asian wide and fullwidth characters, and pictures: first and last code point (Unicode 15.1). */
const WIDE: readonly (readonly [number, number])[] = [
  [0x1100, 0x115f],
  [0x231a, 0x231b],
  [0x2329, 0x232a],
  [0x23e9, 0x23ec],
  [0x2e80, 0x303e],
  [0x3041, 0x33ff],
  [0x3400, 0x4dbf],
  [0x4e00, 0x9fff],
  [0xa000, 0xa4cf],
  [0xa960, 0xa97c],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe10, 0xfe19],
  [0xfe30, 0xfe6f],
  [0xff01, 0xff60],
  [0xffe0, 0xffe6],
  [0x16fe0, 0x18cff],
  [0x1b000, 0x1b2ff],
  [0x1f200, 0x1f2ff],
  [0x20000, 0x3fffd],
];
const NOTHING = /^[\p{Mn}\p{Me}\p{Cf}]$/u;
const PICTURE = /^\p{Emoji_Presentation}$/u;

export function widthOf(text: string): number {
  let width = 0;
  for (const character of text) width += columnsOf(character);
  return width;
}

/** The beginning of a text that is too wide, with an ellipsis. @param columns at least 1 */
export function cut(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  let kept = '';
  let width = 1;
  for (const character of text) {
    width += columnsOf(character);
    if (width > columns) break;
    kept += character;
  }
  return `${kept.trimEnd()}…`;
}

/** The first of several texts for the same that fits; the last one cut, if none does. */
export function firstThatFits(texts: readonly string[], columns: number): string {
  return texts.find((text) => widthOf(text) <= columns) ?? cut(texts.at(-1) ?? '', columns);
}

function columnsOf(character: string): number {
  const point = character.codePointAt(0) ?? 0;
  if (point >= 0x20 && point < 0x300) return point === 0xad ? 0 : 1;
  if (NOTHING.test(character)) return 0;
  return PICTURE.test(character) || WIDE.some(([first, last]) => point >= first && point <= last) ? 2 : 1;
}
