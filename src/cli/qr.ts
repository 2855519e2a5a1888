/** A QR code in a terminal. Each character shows two modules, one above the other. */
import { encode } from 'uqr';

/** The standard asks for four. Three are enough for all scanners that were tried, and save a line. */
const QUIET_ZONE = 3;
/** Black on white in every theme, because some scanners cannot read inverted codes. */
const INK = '\u001b[38;5;16;48;5;231m';
const PLAIN = '\u001b[0m';

/** @param colours false: assumes a dark background and draws the light modules */
export function drawQr(text: string, colours: boolean): { readonly text: string; readonly columns: number } {
  const { data, size } = encode(text, { border: QUIET_ZONE, ecc: 'L', boostEcc: true });
  const isDark = (x: number, y: number): boolean => data[y]?.[x] ?? false;
  const lines: string[] = [];
  for (let y = 0; y < size; y += 2) {
    const cells = Array.from({ length: size }, (_, x) => cell(isDark(x, y) === colours, isDark(x, y + 1) === colours));
    lines.push(colours ? `${INK}${cells.join('')}${PLAIN}` : cells.join(''));
  }
  return { text: lines.join('\n'), columns: size };
}

function cell(upper: boolean, lower: boolean): string {
  if (upper) return lower ? '█' : '▀';
  return lower ? '▄' : ' ';
}
