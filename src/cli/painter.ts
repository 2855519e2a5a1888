/**
 * Keeps a few lines at the bottom of a terminal and rewrites them in place; what happens is printed above them.
 *
 * The cursor rests where they begin. A terminal that becomes narrower wraps what it shows, most of them at once, some
 * long before this process hears of it, and none says into how many rows; but each keeps the cursor where its text is.
 * So whatever is below the cursor is ours. For the same reason the lines are drawn without wrapping: each takes one row
 * then, whatever the width is by now.
 */

export interface Terminal {
  readonly columns: number;
  write(text: string): void;
}

const ESC = '\u001b[';
/** The terminal's lines are rewritten at once, where it knows how to. */
const AT_ONCE = [`${ESC}?2026h`, `${ESC}?2026l`] as const;
const UNWRAPPED = [`${ESC}?7l`, `${ESC}?7h`] as const;
const ERASE = `\r${ESC}J`;

export class Painter {
  /** What is on the screen. The cursor is where they begin. */
  private shown: readonly string[] = [];

  constructor(private readonly terminal: Pick<Terminal, 'write'>) {}

  /** @param text whole lines, each with its end */
  print(text: string): void {
    const lines = this.shown;
    if (lines.length === 0) return this.terminal.write(text);
    this.terminal.write(`${AT_ONCE[0]}${ERASE}${text}${draw(lines)}${AT_ONCE[1]}`);
  }

  /** None: nothing is left of them. Each should be narrower than the terminal. */
  show(lines: readonly string[]): void {
    if (lines.length === this.shown.length && lines.every((line, at) => line === this.shown[at])) return;
    this.redraw(lines);
  }

  /** Also if they are the same: the terminal has another size, or something was typed over them. */
  redraw(lines: readonly string[]): void {
    const erased = this.shown.length === 0 ? '' : ERASE;
    this.shown = lines;
    this.terminal.write(`${AT_ONCE[0]}${erased}${draw(lines)}${AT_ONCE[1]}`);
  }

  /** The terminal has echoed Enter: the cursor is a row below. */
  handleEnter(): void {
    if (this.shown.length > 0) this.terminal.write(`${ESC}A`);
  }

  /** Something else has written there, such as the shell after Ctrl-Z: what was shown stays where it is. */
  forget(): void {
    this.shown = [];
  }
}

function draw(lines: readonly string[]): string {
  if (lines.length === 0) return '';
  const up = lines.length > 1 ? `${ESC}${lines.length - 1}A` : '';
  return `${UNWRAPPED[0]}${lines.join('\r\n')}\r${up}${UNWRAPPED[1]}`;
}
