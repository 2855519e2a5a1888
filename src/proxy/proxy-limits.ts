/** The bounds of the local proxy. Types and figures alone. */
import { RESET_WAIT_MS } from '../tunnel/stream/socket-reset.ts';

export interface ProxyLimits {
  /**
   * Connections open at once; further ones are closed unread. Default 2,048: several browsers at full tilt (each opens
   * at most a few hundred), and within the usual 4,096 descriptors. About 10 KiB each when idle; up to 130 KiB where a
   * reader stops.
   */
  readonly maxConnections: number;
  /**
   * From the connection to a whole proxy request, ms. Default 10,000: one is sent at once; the rest is a dead or idle
   * peer.
   */
  readonly negotiationMs: number;
  /**
   * How long a refused connection may take to read its refusal and close, ms. Default 10,000: RFC 1928 §6 ("not more
   * than 10 seconds after detecting the condition").
   */
  readonly lingerMs: number;
  /**
   * From the end of an HTTP answer to the whole header of the next request, ms. Default 60,000: browsers reuse within
   * seconds. A connection at rest holds one stream to its last target too.
   */
  readonly keepAliveMs: number;
  /**
   * How long the bytes before a reset may wait for a program or a target that does not read, ms, before the reset goes
   * without them. Default: as of joined connections, RESET_WAIT_MS.
   */
  readonly resetWaitMs: number;
}

export const DEFAULT_PROXY_LIMITS: ProxyLimits = {
  maxConnections: 2_048,
  negotiationMs: 10_000,
  lingerMs: 10_000,
  keepAliveMs: 60_000,
  resetWaitMs: RESET_WAIT_MS,
};
