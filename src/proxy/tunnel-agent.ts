/**
 * An http.Agent whose connections are tunnel streams. One for each connection of a program: no two programs ever share a
 * connection to a target, which matters where a target authenticates connections (RFC 4559), and all of it goes with the program.
 */
import { Agent, type RequestOptions } from 'node:http';
import type { Duplex } from 'node:stream';
import { WstunError } from '../errors.ts';
import type { Target, TunnelStream } from '../tunnel/stream.ts';

export interface TunnelRequestOptions extends RequestOptions {
  readonly target: Target;
}

/** What http.Agent calls on the sockets it keeps; a stream has no timers and keeps no process alive. */
const SOCKET_METHODS = { ref: nothing, unref: nothing, setTimeout: nothing, setKeepAlive: nothing };

function nothing(): void {}

export class TunnelAgent extends Agent {
  readonly #open: (target: Target) => Promise<TunnelStream>;

  constructor(open: (target: Target) => Promise<TunnelStream>) {
    super({ keepAlive: true, maxFreeSockets: 1 });
    this.#open = open;
  }

  override createConnection(
    { target }: TunnelRequestOptions,
    callback: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    this.#dropIdle();
    this.#open(target).then(
      (stream) => callback(null, asSocket(stream)),
      // Node's callback takes an error alone; its declared type does not.
      (error: unknown) => (callback as (error: Error) => void)(asError(error)),
    );
    return undefined;
  }

  /** The program went on to another target: at most one stream rests for each of its connections. */
  #dropIdle(): void {
    for (const idle of Object.values(this.freeSockets)) for (const stream of idle ?? []) stream.destroy();
  }
}

/** Once a target has ended its side, HTTP has no use for the other: without this, an idle stream would outlive it and be reused. */
function asSocket(stream: TunnelStream): Duplex {
  stream.allowHalfOpen = false;
  return Object.assign(stream, SOCKET_METHODS);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new WstunError('internal', String(error));
}
