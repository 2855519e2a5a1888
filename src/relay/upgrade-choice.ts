/**
 * Decides for each request whether it is an upgrade. If a server has a listener for upgrades, Node hands the connection
 * of such a request over. Without a listener it ignores the header (RFC 9110 §7.8), and how it goes on differs between
 * releases of Node. A rejected upgrade must be answered in exactly that way. So Node is told for each request whether
 * there is a listener. Node 24.9 has an option for that, `shouldUpgradeCallback`; by default it asks as before.
 */
import { EventEmitter } from 'node:events';
import { IncomingMessage, type Server } from 'node:http';
import type { Socket } from 'node:net';

export interface UpgradeChoice {
  /** For the options of the server. */
  readonly IncomingMessage: typeof IncomingMessage;
  /** @param mayUpgrade called at least once for each upgrade; its result for one request must not change */
  attach(server: Server, mayUpgrade: (request: IncomingMessage) => boolean): void;
}

/** For one server. */
export function createUpgradeChoice(): UpgradeChoice {
  // Node creates a message, and counts the listeners before it creates another.
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
