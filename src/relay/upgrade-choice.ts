/**
 * Lets one decide request by request whether an upgrade is one. Node takes a request for an upgrade where anybody
 * listens for upgrades, and lets go of the connection then; a server where nobody does passes the wish over (RFC 9110
 * §7.8), and each release of Node has ways of its own to go on from there. So that a refused upgrade is answered in
 * just these ways, node is told for each request whether anybody listens. Node 24.9 has an option for that,
 * `shouldUpgradeCallback`, whose default asks as its predecessors do.
 */
import { EventEmitter } from 'node:events';
import { IncomingMessage, type Server } from 'node:http';
import type { Socket } from 'node:net';

export interface UpgradeChoice {
  /** For the options of the server. */
  readonly IncomingMessage: typeof IncomingMessage;
  /** @param mayUpgrade asked once for each upgrade, and more often: its answer for one request must not change */
  attach(server: Server, mayUpgrade: (request: IncomingMessage) => boolean): void;
}

/** For one server. */
export function createUpgradeChoice(): UpgradeChoice {
  // Node makes the message, and asks about it before it makes another.
  let latest: IncomingMessage | undefined;
  class NotedMessage extends IncomingMessage {
    constructor(socket: Socket) {
      super(socket);
      latest = this;
    }
  }
  return {
    IncomingMessage: NotedMessage,
    attach(server, mayUpgrade) {
      const countListeners = EventEmitter.prototype.listenerCount.bind(server);
      server.listenerCount = (name, listener) => {
        if (name === 'upgrade' && (latest === undefined || !mayUpgrade(latest))) return 0;
        return countListeners(name, listener);
      };
    },
  };
}
