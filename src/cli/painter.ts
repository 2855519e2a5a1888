/** Keeps a few lines at the bottom of a terminal and rewrites them in place; what happens is printed above them. */
import { widthOf } from './terminal/width.ts';

export interface Terminal {
  readonly columns: number;
  write(text: string): void;
}

const ESC = '\u001b[';
/** The terminal's lines are rewritten at once, where it knows how to. */
const AT_ONCE = [`${ESC}?2026h`, `${ESC}?2026l`] as const;
/** SGR sequences, which take no columns. Lines hold no others. */
const COLOUR = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g');

export class Painter {
  /** What is on the screen. The cursor is at the end of the last line. */
  private shown: readonly string[] = [];

  constructor(private readonly terminal: Terminal) {}

  /** @param text whole lines, each with its end */
  print(text: string): void {
    const lines = this.shown;
    if (lines.length === 0) return this.terminal.write(text);
    this.terminal.write(`${AT_ONCE[0]}${this.erase()}${text}${draw(lines)}${AT_ONCE[1]}`);
  }

  /** None: nothing is left of them. Each must be narrower than the terminal. */
  show(lines: readonly string[]): void {
    if (lines.length === this.shown.length && lines.every((line, at) => line === this.shown[at])) return;
    const erased = this.erase();
    this.shown = lines;
    this.terminal.write(`${AT_ONCE[0]}${erased}${draw(lines)}${AT_ONCE[1]}`);
  }

  /** The terminal has echoed Enter: the cursor is on the line below. */
  handleEnter(): void {
    if (this.shown.length > 0) this.terminal.write(`${ESC}A`);
  }

  /** Something else has written there, such as the shell after Ctrl-Z: what was shown stays where it is. */
  forget(): void {
    this.shown = [];
  }

  /** A terminal that has become narrower has wrapped the lines. */
  private erase(): string {
    if (this.shown.length === 0) return '';
    const columns = Math.max(1, this.terminal.columns);
    const rows = this.shown.map((line) => Math.max(1, Math.ceil(widthOf(line.replace(COLOUR, '')) / columns)));
    const above = rows.reduce((sum, count) => sum + count, 0) - 1;
    return `\r${above > 0 ? `${ESC}${above}A` : ''}${ESC}J`;
  }
}

function draw(lines: readonly string[]): string {
  return lines.join('\r\n');
}
