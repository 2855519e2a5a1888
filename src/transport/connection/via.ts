/** Another way to a host than the direct one: through a proxy. `transport/proxy` implements it. */
import type { Socket } from 'node:net';
import type { Clock } from '../../clock.ts';
import type { HostPort } from '../../net/host-port.ts';
import type { Reach } from './reach.ts';

export interface ViaOptions {
  /** Cancels the dial at any stage. No effect on an established tunnel. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** From where TCP to the proxy goes, by which family, and who hears of it. */
  readonly reach: Pick<Reach, 'source' | 'family' | 'prefer' | 'lookup' | 'beforeConnect'>;
  /** The socket stays open for writing when the other end has finished. Default: false. */
  readonly allowHalfOpen?: boolean;
}

export interface Via {
  /** For logs and faults: the proxy's URL, without credentials. */
  readonly name: string;
  /**
   * Opens a connection to `target` through the proxy, within 30 s. Its only listener takes errors, and nobody reads it:
   * what the target has sent already comes first.
   * @throws WstunError proxy-…, out-of-descriptors, dial-cancelled
   */
  connect(target: HostPort, options: ViaOptions): Promise<Socket>;
}
