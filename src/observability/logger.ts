/** Never logged: a secret, an invite, a ticket or a request target (it has one); a destination above `debug`. */

/** Of pino, for example. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
