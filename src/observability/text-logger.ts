/** The log for a person: which lines there are, and with which fields. How a line looks is for who writes it. */
import type { Target } from '../protocol/target.ts';
import { describeTarget, type LeveledLogger, type LogLevel } from './logger.ts';

export type LineLevel = Exclude<LogLevel, 'silent'>;

const ORDER: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3, silent: 4 };

/** @param write is given each line from `level` upwards, with fields that JSON can express */
export function createTextLogger(
  level: LogLevel,
  write: (level: LineLevel, message: string, fields: object) => void,
): LeveledLogger {
  const at = (own: LineLevel) => (fields: object, message: string) => {
    if (ORDER[own] >= ORDER[logger.level as LogLevel]) write(own, message, readable(fields));
  };
  const methods = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  const logger: LeveledLogger = { level, ...methods };
  return logger;
}

function readable(fields: object): object {
  if (!('target' in fields)) return fields;
  const { host, port } = describeTarget(fields.target as Target);
  return { ...fields, target: `${host}:${port}` };
}
