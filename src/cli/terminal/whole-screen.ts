/** A text that is shown again and again from the top of a terminal, cut to its size. Pure. */
import { cut } from './width.ts';

const ESC = '\u001b[';
/** A terminal that has become narrower before this process hears of it would wrap, and scroll. */
const UNWRAPPED = [`${ESC}?7l`, `${ESC}?7h`] as const;
/** Without the flicker of an empty screen. */
const TO_TOP = `${ESC}H`;
const CLEAR_LINE = `${ESC}K`;
const CLEAR_BELOW = `${ESC}J`;

export interface ScreenSize {
  readonly columns: number;
  readonly rows: number;
}

/** The last row stays free, for the cursor: a text that fills it would scroll. */
export function wholeScreen(text: string, size: ScreenSize): string {
  const lines = screenLines(text.split('\n'), size).map((line) => `${line}${CLEAR_LINE}\r\n`);
  return `${UNWRAPPED[0]}${TO_TOP}${lines.join('')}${CLEAR_BELOW}${UNWRAPPED[1]}`;
}

function screenLines(lines: readonly string[], { columns, rows }: ScreenSize): readonly string[] {
  const room = Math.max(1, rows - 1);
  const left = lines.length - room;
  const shown = left > 0 ? [...lines.slice(0, room - 1), `… ${left + 1} more lines in a taller terminal`] : lines;
  return shown.map((line) => cut(line, Math.max(1, columns - 1)));
}
