/** A program on a pseudo-terminal, by script(1), to which a test types when it has seen what it waits for. */
import { shellQuote } from '../../../src/cli/shell.ts';
import { until } from '../until.ts';
import { WstunProcess } from './wstun-process.ts';
import { wstunPath } from './wstun-program.ts';

/** Programs start slowly on a busy machine. */
const LIMIT_MS = 30_000;

export class Terminal {
  private readonly process: WstunProcess;
  private seen = 0;

  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    // Not below a shell, which a Ctrl-C would end too.
    const command = ['exec', process.execPath, wstunPath, ...args].map(shellQuote).join(' ');
    this.process = new WstunProcess(['-qefc', command, '/dev/null'], { env, through: 'script' });
  }

  /** Everything that was on the screen, in order. */
  get shown(): string {
    return this.process.stdout;
  }

  get exited(): Promise<number | string> {
    return this.process.exited;
  }

  /** Waits until it is shown, after what was waited for before, and types. */
  async answer(to: string, typed: string): Promise<void> {
    await this.see(to);
    this.process.type(typed);
  }

  async see(text: string): Promise<void> {
    const find = () => this.shown.indexOf(text, this.seen);
    await until(() => find() !== -1 || !this.process.isRunning, LIMIT_MS).catch(() => {});
    if (find() === -1) throw new Error(`the terminal does not show "${text}", but:\n${this.shown}`);
    this.seen = find() + text.length;
  }
}
