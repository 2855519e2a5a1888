/** A tunnel through a SOCKS proxy, on a connected socket: the package `socks` speaks, and is loaded when it is used. */
import { isIP, type Socket } from 'node:net';
import { AbortableWait } from '../../async/abortable.ts';
import { WstunError } from '../../errors.ts';
import type { HostPort } from '../../net/host-port.ts';
import type { ViaOptions } from '../connection/via.ts';
import type { ProxyCredentials } from './proxy-credentials.ts';
import { type ProxyPlace, socksFault, wrongPassword } from './proxy-faults.ts';

/** For the whole exchange, ms: the proxy resolves a name and connects meanwhile. */
const SOCKS_LIMIT_MS = 10_000;

export interface SocksRequest {
  readonly version: 4 | 5;
  readonly target: HostPort;
  readonly credentials: ProxyCredentials | undefined;
  readonly place: ProxyPlace;
}

/** Resolves with the socket paused. @throws WstunError proxy-…, dial-cancelled */
export async function openSocksTunnel(socket: Socket, request: SocksRequest, options: ViaOptions): Promise<void> {
  const { place, credentials } = request;
  const client = createClient(await loadSocks(), socket, request);
  const wait = new AbortableWait<void>({
    ...{ clock: options.clock, signal: options.signal, limitMs: SOCKS_LIMIT_MS },
    onExpired: (expired) => expired.reject(new WstunError('proxy-slow', `${place.proxy}: no answer within 10 s`)),
  });
  // Its errors hold the options, and so the password: only the text is read.
  client.on('error', ({ message }: Error) => wait.reject(faultOf(message, place, credentials)));
  client.on('established', () => keepRest(socket, () => wait.resolve()));
  if (!wait.isOver) client.connect(socket);
  await wait.promise;
}

type Socks = typeof import('socks');

/** CommonJS: Node has its exports by name or as the default, a bundler only as the default. */
async function loadSocks(): Promise<Socks> {
  const loaded: Socks & { readonly default?: Socks } = await import('socks');
  return loaded.default ?? loaded;
}

function createClient(
  { SocksClient }: Socks,
  socket: Socket,
  request: SocksRequest,
): InstanceType<Socks['SocksClient']> {
  const { version, target, credentials, place } = request;
  try {
    return new SocksClient({
      command: 'connect',
      destination: target,
      proxy: {
        // Only for its checks: the socket is connected.
        ...{ host: '127.0.0.1', port: 1080, type: version },
        ...(credentials && { userId: credentials.exposeUser(), password: credentials.exposePassword() }),
      },
      existing_socket: socket,
    });
  } catch {
    // The error holds the password.
    throw new WstunError('proxy-odd-answer', `${place.proxy}: SOCKS cannot express this target or these credentials`);
  }
}

/** The package emits bytes after its answer as an event, one step later, and then resumes the socket. */
function keepRest(socket: Socket, done: () => void): void {
  const rest: Buffer[] = [];
  const onData = (chunk: Buffer): void => void rest.push(chunk);
  socket.on('data', onData);
  setImmediate(() => {
    socket.pause();
    socket.off('data', onData);
    if (rest.length > 0) socket.unshift(Buffer.concat(rest));
    done();
  });
}

function faultOf(message: string, place: ProxyPlace, credentials: ProxyCredentials | undefined): WstunError {
  if (message.includes('Authentication failed')) return wrongPassword(place, 0);
  return socksFault(message, place, { credentials: credentials !== undefined });
}

/** SOCKS 4 without a name has only IPv4. */
export function isForSocks4(address: string): boolean {
  return isIP(address) === 4;
}
