/** Has clients and exits try a new link as soon as the network beneath has changed. */
import type { Logger } from '../observability/logger.ts';
import { watchNetwork } from '../tunnel/reconnect/network-watch.ts';

/** Keeps no process alive. */
export function followNetwork(program: { reconnect(): void }, logger: Logger): { stop(): void } {
  return watchNetwork({
    onChange: (change) => {
      logger.debug({ change }, 'the network may have changed');
      program.reconnect();
    },
  });
}
