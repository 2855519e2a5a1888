/**
 * What commands print. stdout: results and, with `--json`, one event a line. stderr: what is meant for a person, and logs.
 */
import { createLogger, type Logger } from '../observability/logger.ts';

export interface OutputOptions {
  readonly json?: boolean | undefined;
  readonly verbose?: boolean | undefined;
  /** Logs warnings only. */
  readonly quiet?: boolean;
}

export class Output {
  readonly json: boolean;
  readonly logger: Logger;

  constructor(options: OutputOptions) {
    this.json = options.json ?? false;
    const human = !this.json && process.stderr.isTTY === true;
    this.logger = createLogger({ level: options.verbose ? 'debug' : options.quiet ? 'warn' : 'info', human });
  }

  /** One line of JSON on stdout, with `--json` only. */
  event(event: { readonly event: string; readonly [field: string]: unknown }): void {
    if (this.json) printLine(JSON.stringify(event));
  }

  /** For a person, on stderr; not with `--json`. */
  say(text: string): void {
    if (!this.json) process.stderr.write(`${text}\n`);
  }
}

export function printLine(line: string): void {
  process.stdout.write(`${line}\n`);
}
