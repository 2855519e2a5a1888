/**
 * A terminal window with an interactive shell, into which a test pastes what a person would: programs have a terminal,
 * ask at it, and get Ctrl-C from it.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { atEnd } from '../scope.ts';
import { until } from '../until.ts';
import { type SpawnOptions, spawnBound } from './programs.ts';

export type Shell = 'bash' | 'zsh';

/** Nothing of the user's own; plain lines, as an editor of lines would redraw them. */
const COMMANDS: Readonly<Record<Shell, string>> = {
  bash: 'exec bash --norc --noprofile --noediting -i',
  zsh: 'exec zsh -f +o zle +o prompt_sp +o prompt_cr -i',
};
/** With the exit code of the command before it. */
const PROMPTS: Readonly<Record<Shell, string>> = { bash: '<<$?>> ', zsh: '<<%?>> ' };
/** The shell's, and all that it starts belongs to it. */
const SESSION = /<session (\d+)>/;
const PROMPT = /<<(\d+)>> /g;
/** Programs start slowly on a busy machine. */
const LIMIT_MS = 30_000;
const CTRL_C = '\u0003';

export class ShellWindow {
  private text = '';
  /** Where that begins which has come since the last paste. */
  private since = 0;

  private constructor(private readonly child: ChildProcess) {}

  static async open(shell: Shell, options: SpawnOptions): Promise<ShellWindow> {
    const command = `stty cols 150 rows 60; echo "<session $$>"; ${COMMANDS[shell]}`;
    const env = { TERM: 'dumb', ...options.env, PS1: PROMPTS[shell] };
    const child = spawnBound('script', ['-qefc', command, '/dev/null'], { ...options, env });
    const window = new ShellWindow(child);
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        window.text += text;
      });
    const closed = once(child, 'close');
    atEnd(async () => {
      endSession(Number(SESSION.exec(window.text)?.[1]));
      child.kill('SIGKILL');
      await closed;
    });
    await window.ended();
    return window;
  }

  /** What has been on the screen since the last paste, with what was pasted. */
  get shown(): string {
    return this.text.slice(this.since).replaceAll('\r\n', '\n');
  }

  /** Lines of text, each with its end, as if typed at once. */
  paste(lines: string): void {
    this.since = this.text.length;
    this.type(lines);
  }

  /** Further text: an answer, or a key. */
  type(text: string): void {
    this.child.stdin?.write(text);
  }

  /** As `run`, for one command that must succeed. What it printed. */
  async runWell(line: string, limitMs = LIMIT_MS): Promise<string> {
    this.paste(`${line}\n`);
    return await this.endedWell(1, limitMs);
  }

  /** Waits until so many commands have ended since the last paste, with 0. What was shown. */
  async endedWell(count = 1, limitMs = LIMIT_MS): Promise<string> {
    const codes = await this.ended(count, limitMs);
    if (codes.some((code) => code !== 0)) throw new Error(`it ended with ${codes.join(', ')}:\n${this.shown}`);
    return this.shown;
  }

  /** Ctrl-C, and waits for the prompt. The exit code of what it ended. */
  async interrupt(): Promise<number> {
    const before = this.codes().length;
    this.type(CTRL_C);
    return (await this.ended(before + 1)).at(-1) ?? -1;
  }

  /** Waits until that is shown after the last paste. */
  async see(text: string | RegExp, limitMs = LIMIT_MS): Promise<string> {
    const isSeen = () => (typeof text === 'string' ? this.shown.includes(text) : text.test(this.shown));
    await until(() => isSeen() || this.child.exitCode !== null, limitMs).catch(() => {});
    if (!isSeen()) throw new Error(`the window does not show ${String(text)}, but:\n${this.shown}`);
    return this.shown;
  }

  /** Waits until so many commands have ended since the last paste. Their exit codes. */
  async ended(count = 1, limitMs = LIMIT_MS): Promise<readonly number[]> {
    const isThere = () => this.codes().length >= count;
    await until(() => isThere() || this.child.exitCode !== null, limitMs).catch(() => {});
    if (!isThere()) throw new Error(`the shell has not come back to its prompt:\n${this.shown}`);
    return this.codes();
  }

  private codes(): readonly number[] {
    return [...this.shown.matchAll(PROMPT)].map(([, code]) => Number(code));
  }
}

/** What runs in a window may have no ear for the end of its terminal. */
function endSession(session: number): void {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      // After the program's name, which may contain anything: state, parent, group, session.
      const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\)/s, '').trim().split(' ');
      if (Number(fields[3]) === session) process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended in the meantime.
    }
  }
}
