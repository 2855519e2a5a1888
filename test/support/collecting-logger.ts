/** A logger whose lines can be looked at: the fields, the level as pino numbers it, and the message. */
import type { Logger } from '../../src/observability/logger.ts';

export interface LoggedLine {
  readonly level: number;
  readonly message: string;
  readonly [field: string]: unknown;
}

export function collectingLogger(): { readonly logger: Logger; readonly lines: readonly LoggedLine[] } {
  const lines: LoggedLine[] = [];
  const at =
    (level: number) =>
    (fields: object, message: string): void =>
      void lines.push({ ...fields, level, message });
  return { logger: { debug: at(20), info: at(30), warn: at(40), error: at(50) }, lines };
}
