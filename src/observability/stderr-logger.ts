/** How the commands log: pino, to stderr. stdout is for what a command prints for use (an invite, `--json` events). */
import { pino } from 'pino';
import pretty from 'pino-pretty';
import { describeTarget, type Logger } from './logger.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface LeveledLogger extends Logger {
  /** Can be set: what is below it is not logged. */
  level: string;
}

/** `human`: lines with a time and colours (NO_COLOR and FORCE_COLOR hold), else one JSON object a line. */
export function createLogger(options: { level: LogLevel; human: boolean }): LeveledLogger {
  const base = { level: options.level, base: null, serializers: { target: describeTarget } };
  if (!options.human) return pino(base, pino.destination({ dest: 2, sync: true }));
  const colorize =
    process.env.NO_COLOR === undefined && (process.stderr.isTTY || process.env.FORCE_COLOR !== undefined);
  return pino(
    base,
    pretty({ destination: 2, sync: true, colorize, translateTime: 'SYS:HH:MM:ss', ignore: 'pid,hostname' }),
  );
}
