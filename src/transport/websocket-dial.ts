/** The client's half of a WebSocket, for one attempt. No error or log has the ticket, or text of an unknown server. */
import { isIP, type OnReadOpts, type Socket, connect as tcpConnect } from 'node:net';
import { type ConnectionOptions, TLSSocket, connect as tlsConnect } from 'node:tls';
import { WebSocket } from 'ws';
import { type Clock, systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { lend, takeLentBack } from '../memory/pieces.ts';
import { copied } from '../memory/small-pieces.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { answerFault, describeAnswer } from './answer-faults.ts';
import type { MessageLink } from './message-link.ts';
import { RelayAddresses } from './relay-addresses.ts';
import { dialFault } from './relay-dial-faults.ts';
import { addressesOf, dialTcp, type Lookup, placeOf, TcpFault } from './tcp-dial.ts';
import type { Masking } from './websocket-frame.ts';
import type { LentReads } from './websocket-intake.ts';
import { CONNECT_TIMEOUT_MS, DIAL_TIMEOUT_MS, SOCKET_LIMITS } from './websocket-limits.ts';
import { peerAddress, WebSocketLink } from './websocket-link.ts';

export interface DialWebSocketOptions {
  /** Cancels the dial at any stage. No effect on an established link. */
  readonly signal: AbortSignal;
  /**
   * Default: `zero` over wss (TLS hides the frames) and to a loopback address (there are no proxies), `random` over
   * plain ws elsewhere, where RFC 6455 §10.3 protects proxies on the path from content that an attacker chose.
   */
  readonly mask?: 'zero' | 'random';
  /** PEM certificates to trust in place of the usual ones. */
  readonly ca?: string;
  /** Time limit of the whole dial; default DIAL_TIMEOUT_MS. */
  readonly timeoutMs?: number;
  /** For tests; default: those of the process, and the system's resolver. */
  readonly known?: RelayAddresses;
  readonly lookup?: Lookup;
  /** The only address of the host to dial; what is known of the others is neither used nor changed. */
  readonly address?: string | undefined;
  /** Default: the system's. `ws` has timers of its own for the end of a link. */
  readonly clock?: Clock;
  /** What the `ETag` of an answer other than 101 proves, if anything. @param detail for the fault */
  readonly provenFault?: (etag: string, detail: string) => WstunError | undefined;
}

/** Keeps idle connections alive in middleboxes; well below their common limits of a minute and more. */
const KEEP_ALIVE_MS = 30_000;

/**
 * All dialled sockets are read into one buffer: four times the 64 KiB that Node reads by default brought 6 to 20 % on
 * loopback, and no idle link holds a buffer. libuv calls back at once, and what is kept is copied out before the next.
 */
const READ_BYTES = 256 * 1024;
let readBuffer: Buffer | undefined;

/** For all relays that this process dials. */
const addressesKnown = new RelayAddresses();

/**
 * Opens a link to `url` (ws: or wss:, without a fragment). @throws WstunError of `provenFault`, relay-refused (a
 * RelayRefused), relay-odd-answer, relay-untrusted, relay-unreachable, link-slow, dial-cancelled
 */
export async function dialWebSocket(url: URL, options: DialWebSocketOptions): Promise<MessageLink> {
  const { signal, timeoutMs = DIAL_TIMEOUT_MS, address: only, lookup, clock = systemClock } = options;
  const { known = only === undefined ? addressesKnown : new RelayAddresses() } = options;
  const since = clock.now();
  const place = hostPortOf(url);
  const where = `${url.hostname}:${place.port}`;
  const lentReads: LentReads = {};
  const tcp = await dialTcp({
    ...place,
    signal,
    limitMs: Math.min(timeoutMs, CONNECT_TIMEOUT_MS),
    known,
    clock,
    connect: (address) => openSocket(url, { address, ...place, ca: options.ca, lentReads }),
    ...(only !== undefined ? { lookup: async () => [{ address: only, family: isIP(only) }] } : lookup && { lookup }),
  }).catch((error: unknown) => {
    throw error instanceof TcpFault ? dialFault(error, { where, connected: false, certificateFault: false }) : error;
  });
  try {
    const leftMs = timeoutMs - (clock.now() - since);
    const link = await upgrade(url, { raw: tcp.socket, lentReads, where, leftMs, clock, options });
    known.handleWorked(placeOf(place), tcp.address);
    return link;
  } catch (error) {
    if (!signal.aborted) known.handleFailed(placeOf(place), tcp.address);
    throw error;
  }
}

interface Upgrading {
  /** TCP is connected; TLS may not be. */
  readonly raw: Socket;
  readonly lentReads: LentReads;
  /** For faults. */
  readonly where: string;
  readonly leftMs: number;
  readonly clock: Clock;
  readonly options: DialWebSocketOptions;
}

/** Rejects as dialWebSocket, with `raw` destroyed. */
function upgrade(url: URL, { raw, lentReads, where, leftMs, clock, options }: Upgrading): Promise<MessageLink> {
  const { signal } = options;
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { ...SOCKET_LIMITS, followRedirects: false, createConnection: () => raw });

    const settle = (): void => {
      clock.clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    };
    const fail = (fault: WstunError): void => {
      settle();
      reject(fault);
      socket.terminate();
      raw.destroy();
    };
    const failFrom = (error: { readonly code?: string }): void =>
      fail(dialFault(error, { where, connected: true, certificateFault: distrusts(raw) }));
    const onAbort = (): void => fail(new WstunError('dial-cancelled'));
    const timer = clock.setTimeout(() => failFrom({ code: 'ETIMEDOUT' }), leftMs);
    signal.addEventListener('abort', onAbort, { once: true });

    // Never removed: `terminate` causes one more error, which must have a listener.
    socket.on('error', failFrom);
    socket.on('unexpected-response', (_request, { statusCode = 0, headers }) => {
      const answer = { status: statusCode, headers, url, where };
      const proven =
        headers.etag === undefined ? undefined : options.provenFault?.(headers.etag, describeAnswer(answer));
      fail(proven ?? answerFault(answer));
    });
    socket.once('open', () => {
      settle();
      socket.removeAllListeners();
      const masking = options.mask ?? defaultMasking(url, raw);
      resolve(new WebSocketLink({ socket, raw, masking, remote: peerAddress(raw), lentReads }));
    });
    // The signal may have fired since TCP connected.
    if (signal.aborted) onAbort();
  });
}

interface Opening {
  /** One of the host's. */
  readonly address: string;
  readonly host: string;
  readonly port: number;
  readonly ca: string | undefined;
  readonly lentReads: LentReads;
}

/** TLS starts automatically when TCP is connected. */
function openSocket(url: URL, opening: Opening): Socket {
  const socket = url.protocol === 'wss:' ? openTls(opening) : openPlain(opening);
  return socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS);
}

/** ALPN as browsers send it for a WebSocket; some front ends insist on it. */
function openTls({ address, host, port, ca, lentReads }: Opening): Socket {
  // `onread` is documented, but not in the types.
  const options: ConnectionOptions & { readonly onread: OnReadOpts } = {
    host: address,
    port,
    servername: isIP(host) === 0 ? host : '',
    ALPNProtocols: ['http/1.1'],
    ...(ca !== undefined && { ca }),
    onread: readLent(lentReads, (chunk) => socket.push(chunk)),
  };
  const socket: TLSSocket = tlsConnect(options);
  return socket;
}

function openPlain({ address, port, lentReads }: Opening): Socket {
  const onread = readLent(lentReads, (chunk) => socket.push(chunk));
  const socket: Socket = tcpConnect({ host: address, port, onread });
  return socket;
}

/** What `lentReads` does not take is copied and delivered. @param deliver returns whether there is room for more */
function readLent(lentReads: LentReads, deliver: (chunk: Buffer) => boolean): OnReadOpts {
  readBuffer ??= Buffer.allocUnsafeSlow(READ_BYTES);
  return {
    buffer: readBuffer,
    callback: (bytes, buffer) => {
      const read = lend(buffer.subarray(0, bytes));
      const isRead = lentReads.read?.(read) === true;
      const hasRoom = isRead || deliver(copied(read));
      takeLentBack(read);
      return hasRoom;
    },
  };
}

/** One of the addresses of a URL's host. */
export interface UrlAddress {
  readonly address: string;
  /** What `remote` of a link to it says. */
  readonly remote: string;
}

/** Rejects as the resolver. */
export async function addressesOfUrl(url: URL, lookup?: Lookup): Promise<readonly UrlAddress[]> {
  const { host, port } = hostPortOf(url);
  const addresses = await addressesOf(host, lookup);
  return addresses.map((address) => ({ address, remote: formatHostPort({ host: address, port }) }));
}

/** The host without brackets. */
function hostPortOf(url: URL): HostPort {
  const port = url.port === '' ? (url.protocol === 'wss:' ? 443 : 80) : Number(url.port);
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port };
}

function distrusts(socket: Socket): boolean {
  return socket instanceof TLSSocket && Boolean(socket.authorizationError);
}

function defaultMasking(url: URL, socket: Socket): Masking {
  const loopback = /^(127\.|::ffff:127\.|::1$)/.test(socket.remoteAddress ?? '');
  return url.protocol === 'wss:' || loopback ? 'zero' : 'random';
}
