/** The log as JSON lines on stderr: pino. stdout is for what a command prints for use (an invite, `--json` events). */
import { pino } from 'pino';
import { describeTarget, type LeveledLogger, type LogLevel } from './logger.ts';

/** Levels are words, times are ISO 8601 in UTC. */
export function createJsonLogger(level: LogLevel): LeveledLogger {
  const options = {
    ...{ level, base: null, serializers: { target: describeTarget } },
    formatters: { level: (label: string) => ({ level: label }) },
    timestamp: pino.stdTimeFunctions.isoTime,
  };
  return pino(options, pino.destination({ dest: 2, sync: true }));
}
