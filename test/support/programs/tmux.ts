/** A real terminal of a given size: tmux, whose screen is read back as text. */
import { PATIENCE } from '../patience.ts';
import { atEnd } from '../scope.ts';
import { run, runWell } from './programs.ts';

const SCREEN_LIMIT_MS = 30_000;

let count = 0;

export interface TerminalOptions {
  readonly columns: number;
  readonly rows: number;
  readonly env?: Readonly<Record<string, string>>;
}

export class TmuxTerminal {
  private constructor(private readonly socket: string) {}

  /** Runs a command line of sh in it. */
  static async start(command: string, { columns, rows, env = {} }: TerminalOptions): Promise<TmuxTerminal> {
    count++;
    const terminal = new TmuxTerminal(`wstun-test-${process.pid}-${count}`);
    const size = ['-x', String(columns), '-y', String(rows)];
    atEnd(async () => void (await run('tmux', ['-L', terminal.socket, 'kill-server'])));
    await runWell('tmux', ['-u', '-L', terminal.socket, '-f', '/dev/null', 'new-session', '-d', ...size, command], {
      env: { ...env, TERM: 'xterm-256color' },
    });
    // What it has shown at its end stays on the screen.
    await terminal.ask('set-option', '-g', 'remain-on-exit', 'on');
    await terminal.ask('set-option', '-g', 'status', 'off');
    await terminal.resize(columns, rows);
    return terminal;
  }

  /** Its lines, without spaces at their ends and empty ones at the end. */
  async screen(): Promise<readonly string[]> {
    const text = Buffer.from(await this.ask('capture-pane', '-p'), 'latin1').toString();
    return text
      .trimEnd()
      .split('\n')
      .map((line) => line.trimEnd());
  }

  /** The screen, as soon as a text is on it. */
  async until(text: RegExp, limitMs = SCREEN_LIMIT_MS): Promise<readonly string[]> {
    let shown: readonly string[] = [];
    const look = async () => {
      shown = await this.screen();
      return text.test(shown.join('\n'));
    };
    const end = performance.now() + limitMs * PATIENCE;
    while (!(await look())) {
      if (performance.now() > end) throw new Error(`${text} is not on the screen:\n${shown.join('\n')}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return shown;
  }

  /** By the names of tmux: `C-c`, `Enter`. */
  async press(...keys: readonly string[]): Promise<void> {
    await this.ask('send-keys', ...keys);
  }

  /** Whether the cursor is visible, and whether long lines wrap. */
  async modes(): Promise<{ readonly cursor: boolean; readonly wrap: boolean }> {
    const [cursor, wrap] = (await this.ask('display-message', '-p', '#{cursor_flag} #{wrap_flag}')).trim().split(' ');
    return { cursor: cursor === '1', wrap: wrap === '1' };
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.ask('resize-window', '-x', String(columns), '-y', String(rows));
  }

  private ask(...args: readonly string[]): Promise<string> {
    return runWell('tmux', ['-u', '-L', this.socket, ...args]);
  }
}
