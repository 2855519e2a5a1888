/** What commands print. stdout: results and, with `--json`, an event per line. stderr: texts for a person, and logs. */
import type { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import { createLogger, type LeveledLogger, type LogLevel } from '../observability/stderr-logger.ts';
import { markTold } from './told.ts';

export interface OutputOptions {
  readonly json?: boolean | undefined;
  readonly verbose?: boolean | undefined;
  /** Logs warnings only. */
  readonly quiet?: boolean;
}

export class Output {
  readonly json: boolean;
  readonly logger: Logger;
  private readonly log: LeveledLogger;
  private readonly usual: LogLevel;

  constructor(options: OutputOptions) {
    this.json = options.json ?? false;
    const human = !this.json && process.stderr.isTTY === true;
    this.usual = options.quiet ? 'warn' : 'info';
    this.log = createLogger({ level: options.verbose ? 'debug' : this.usual, human });
    this.logger = this.log;
  }

  /** From now on: whether what is said for debugging is logged. */
  setVerbose(verbose: boolean): void {
    this.log.level = verbose ? 'debug' : this.usual;
  }

  /** One line of JSON on stdout, only with `--json`. */
  event(event: { readonly event: string; readonly [field: string]: unknown }): void {
    if (this.json) printLine(JSON.stringify(event));
  }

  /** The fault that ends a client or an exit. Printed at once, on stderr also with `--json`. */
  sayEnded(error: WstunError): void {
    markTold(error);
    this.event({ event: 'ended', code: error.code, message: error.message });
    process.stderr.write(`wstun: ${error.message}\n`);
  }

  /** For a person, on stderr, not with `--json`. */
  say(text: string): void {
    if (!this.json) process.stderr.write(`${text}\n`);
  }
}

export function printLine(line: string): void {
  process.stdout.write(`${line}\n`);
}
