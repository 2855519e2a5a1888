/** What commands print. stdout: results and, with `--json`, an event per line. stderr: texts for a person, and logs. */
import { onLongWait } from '../async/long-wait.ts';
import { WstunError } from '../errors.ts';
import { createJsonLogger } from '../observability/json-logger.ts';
import type { LeveledLogger, Logger, LogLevel } from '../observability/logger.ts';
import { createTextLogger } from '../observability/text-logger.ts';
import { LiveLines, type LiveSource } from './live-lines.ts';
import { withoutSecrets } from './secret-arguments.ts';
import { type Level, logLine, sentenceLine, type TimeStyle } from './terminal/log-line.ts';
import { safeLines } from './terminal/safe-text.ts';
import { terminalStyle } from './terminal-style.ts';
import { isTold, markTold } from './told.ts';

/** After the end of a command, ms: so often it is looked what still keeps its process alive. */
const LEFTOVERS_MS = 500;
/** What nothing can cancel: look-ups by the system, and files that are pipes without a writer. */
const UNCANCELLABLE = /^(?:GetAddrInfoReqWrap|GetNameInfoReqWrap|FSReqCallback|FSReqPromise)$/;
/** Of stdin, stdout and stderr. */
const STANDARD = /^(?:TTYWrap|PipeWrap)$/;

export interface OutputOptions {
  readonly json?: boolean | undefined;
  readonly verbose?: boolean | undefined;
  /** Only what is wrong, and what was asked for. */
  readonly quiet?: boolean | undefined;
  /** Logs only what is wrong. */
  readonly fewLogs?: boolean | undefined;
  /** Another program has the terminal: lines say whose they are, and have no time. Implies `fewLogs`. */
  readonly isBeside?: boolean | undefined;
  /** Of stderr. Default: `json` with `json`, else `text`. */
  readonly logFormat?: 'text' | 'json' | undefined;
}

export class Output {
  readonly json: boolean;
  readonly logger: Logger;
  /** The lines at the bottom of the terminal, where there can be some. */
  readonly live: LiveLines | undefined;
  readonly hasColours: boolean;
  /** Of the terminal; where there is none, whoever reads it has room. */
  get columns(): number {
    return process.stderr.isTTY === true ? process.stderr.columns : Number.POSITIVE_INFINITY;
  }

  private readonly log: LeveledLogger;
  private readonly usual: LogLevel;
  private readonly isJsonLog: boolean;
  private readonly isQuiet: boolean;
  private readonly timeStyle: TimeStyle;
  private hasSpoken = false;
  private hasEnded = false;

  constructor(options: OutputOptions) {
    const { json = false, verbose = false, quiet = false, logFormat = json ? 'json' : 'text' } = options;
    const { isBeside = false, fewLogs = isBeside } = options;
    this.usual = quiet || fewLogs ? 'warn' : 'info';
    const level = verbose ? 'debug' : this.usual;
    const style = terminalStyle({ isTTY: process.stderr.isTTY === true, env: process.env });
    this.json = json;
    this.isQuiet = quiet;
    this.isJsonLog = logFormat === 'json';
    this.hasColours = style.hasColours;
    this.timeStyle = isBeside ? 'none' : process.stderr.isTTY === true ? 'terminal' : 'file';
    const isLive = style.isLive && !json && !quiet && !this.isJsonLog && !isBeside;
    this.live = isLive ? new LiveLines(process.stderr) : undefined;
    this.log = this.isJsonLog
      ? createJsonLogger(level)
      : createTextLogger(level, (of, message, fields) =>
          this.write(`${logLine(Date.now(), this.timeStyle, of, message, fields)}\n`),
        );
    this.logger = this.log;
    onLongWait((what) => this.say(`waiting for ${what} …`));
  }

  /** From now on: whether what is said for debugging is logged. */
  setVerbose(verbose: boolean): void {
    this.log.level = verbose ? 'debug' : this.usual;
  }

  /** One line of JSON on stdout, only with `--json`. */
  event({ event, ...fields }: { readonly event: string; readonly [field: string]: unknown }): void {
    if (this.json) printLine(JSON.stringify({ event, time: new Date().toISOString(), ...fields }));
  }

  /** A sentence about what has happened, on stderr. With `--json` its event says it. */
  say(text: string, level: Exclude<Level, 'debug'> = 'info'): void {
    if (this.json || (this.isQuiet && level === 'info')) return;
    this.hasSpoken = true;
    if (this.isJsonLog) return this.logger[level]({}, text);
    this.write(`${sentenceLine(Date.now(), this.timeStyle, text)}\n`);
  }

  /**
   * Lines to read and to paste, on stderr. `isNeeded`: what was asked for depends on it, so that `--quiet` keeps it.
   * They are not for programs: where these read stderr, `instead` is said.
   */
  show(text: string, { instead, isNeeded = false }: { readonly instead: string; readonly isNeeded?: boolean }): void {
    if (this.isJsonLog) return this.say(instead);
    if (this.json || (this.isQuiet && !isNeeded)) return;
    this.hasSpoken = true;
    this.write(`${safeLines(text)}\n`);
  }

  /** As `show`, of lines with colours of our own, in which nothing of others is. */
  draw(text: string): void {
    if (!this.json && !this.isJsonLog) this.write(`${text}\n`);
  }

  /** A result, on stdout. The terminal may be the same. */
  result(line: string): void {
    if (this.live === undefined || process.stdout.isTTY !== true) printLine(line);
    else this.live.print(`${line}\n`);
  }

  /** Lines at the bottom of the terminal, from now on; without effect where there can be none. */
  follow(source: LiveSource): void {
    this.live?.follow(source);
  }

  /** Why a client or an exit ends, as soon as it is known; on stderr also with `--json`. Once for each fault. */
  sayFault(error: WstunError): void {
    if (isTold(error)) return;
    markTold(error);
    const { code } = error;
    const message = withoutSecrets(error.message, process.argv.slice(2));
    if (this.isJsonLog) return this.logger.error({ code }, message);
    // A command that has not begun has no history: when it failed is of no interest.
    const line = this.hasSpoken ? sentenceLine(Date.now(), this.timeStyle, message) : `wstun: ${safeLines(message)}`;
    this.write(`${line}\n`);
  }

  /** The last event, whatever the end. @param error why, if it is no ordinary end */
  end({ error, signal }: { readonly error?: unknown; readonly signal?: string | undefined }): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.live?.stop();
    const fault = error === undefined ? undefined : faultOf(error);
    if (fault !== undefined) this.sayFault(fault);
    if (fault !== undefined && error instanceof Error) markTold(error);
    if (fault === undefined && this.hasSpoken) this.say(signal === undefined ? 'ended' : `ended by ${signal}`);
    const why = fault && { message: withoutSecrets(fault.message, process.argv.slice(2)) };
    this.event({ event: 'ended', code: fault?.code ?? null, ...why, ...(signal !== undefined && { signal }) });
  }

  private write(text: string): void {
    if (this.live === undefined) process.stderr.write(text);
    else this.live.print(text);
  }
}

/** Runs a command to its end, which is its last event. */
export async function runWithOutput(
  options: OutputOptions,
  run: (output: Output) => Promise<NodeJS.Signals | undefined>,
): Promise<void> {
  const output = new Output(options);
  try {
    const signal = await run(output);
    output.end({ signal });
    if (signal !== undefined) endSoonBy(signal);
  } catch (error) {
    output.end({ error });
    throw error;
  }
}

/**
 * Ends the process by the signal if nothing is left in it but what nobody can cancel, and what nobody needs: a name
 * look-up of the system takes 10 s and more without an answer, and exit() waits for it too. Connections that are being
 * closed have the time that they need.
 */
export function endSoonBy(signal: NodeJS.Signals): void {
  const look = () => {
    const left = process.getActiveResourcesInfo().filter((name) => !STANDARD.test(name));
    if (!left.every((name) => UNCANCELLABLE.test(name))) return;
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  };
  setInterval(look, LEFTOVERS_MS).unref();
}

function faultOf(error: unknown): WstunError {
  return error instanceof WstunError ? error : new WstunError('internal', String(error));
}

/** Lines for a person, in which texts of others may be. */
export function printText(text: string): void {
  printLine(safeLines(text));
}

export function printLine(line: string): void {
  process.stdout.write(`${line}\n`);
}
