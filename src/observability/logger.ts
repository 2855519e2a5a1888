/** Never logged: a secret, an invite, a ticket or a request target (it has one); a destination above `debug`. */
import { formatIp } from '../net/ip.ts';
import type { Target } from '../protocol/target.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** Of pino, for example. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** A serializer for the field `target`: its bytes become text only where the line is written. */
export function describeTarget(target: Target): {
  readonly kind: string;
  readonly host: string;
  readonly port: number;
} {
  const { kind, port } = target;
  if (kind === 'name') return { kind, host: target.name, port };
  return { kind: target.ip.length === 4 ? 'ipv4' : 'ipv6', host: formatIp(target.ip), port };
}

export interface LeveledLogger extends Logger {
  /** Can be set: what is below it is not logged. */
  level: string;
}
