/**
 * Opens the connection on which a carrier then speaks to a relay: TCP to one of the relay's addresses, and TLS on it.
 * Knows nothing of HTTP requests and links. No error or log has the path of the URL: it holds a ticket.
 */
import { isIP, type OnReadOpts, type Socket, connect as tcpConnect } from 'node:net';
import type { TLSSocket, ConnectionOptions as TlsOptions } from 'node:tls';
import { type Clock, systemClock } from '../../clock.ts';
import type { WstunError } from '../../errors.ts';
import { type Lent, lend, takeLentBack } from '../../memory/pieces.ts';
import { copied } from '../../memory/small-pieces.ts';
import { formatHostPort } from '../../net/host-port.ts';
import {
  describePlace,
  faultOfAddress,
  hostOf,
  localAddressFor,
  placeOfUrl,
  portOf,
  type Reach,
  usualReach,
} from './reach.ts';
import { RelayAddresses } from './relay-addresses.ts';
import { dialFault } from './relay-dial-faults.ts';
import { certificateFaultOf } from './relay-tls.ts';
import { addressesOf, dialTcp, type Lookup, placeOf, TcpFault } from './tcp-dial.ts';
import type { Via } from './via.ts';

/** From the call of the dial to an open link: name, TCP, TLS and the carrier's own exchange together. */
const DIAL_TIMEOUT_MS = 10_000;
/** Until TCP is connected. The kernel sends SYN at 0, 1, 3 and 7 s: a new dial after 5 s sends sooner. */
const CONNECT_TIMEOUT_MS = 5_000;

/** Memory that a socket is read into repeatedly, and a reader that sees it before it is copied out. */
export interface LentReads {
  /** True: everything has been read or copied. */
  read?: (chunk: Lent) => boolean;
}

export interface ConnectionOptions {
  /** Cancels the dial at any stage. No effect on an established connection. */
  readonly signal: AbortSignal;
  /** Protocols to offer by ALPN over TLS, best first. Default: HTTP/1.1 alone, as browsers for a WebSocket. */
  readonly alpn?: readonly string[];
  /** As the user chose it. Default: nothing was chosen. */
  readonly reach?: Reach | undefined;
  /** Time limit of the whole dial; default DIAL_TIMEOUT_MS. */
  readonly timeoutMs?: number;
  /** For tests; default: those of the process, and the system's resolver. */
  readonly known?: RelayAddresses;
  readonly lookup?: Lookup | undefined;
  /** The only address of the host to dial; what is known of the others is neither used nor changed. */
  readonly address?: string | undefined;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** The way to the host; then the way finds and remembers addresses, and the time limit begins when it is open. */
  readonly via?: Via | undefined;
  /** TCP is connected: what follows takes as many round trips as the carrier needs. */
  readonly onConnected?: (() => void) | undefined;
}

export interface Connection {
  /** TCP is connected, TLS may not be; its only listener takes errors. */
  readonly socket: Socket;
  readonly lentReads: LentReads;
  /** Host and port as dialled, for faults. */
  readonly where: string;
  /** What `remote` of a link on it says. */
  readonly remote: string;
  /** What is left of the time limit, ms. */
  readonly leftMs: number;
  /** A link was established by it. */
  handleWorked(): void;
  /** None was. */
  handleFailed(): void;
  /** What an error of the socket, or of what the carrier says on it, means. `ETIMEDOUT`: the time limit is over. */
  faultOf(error: { readonly code?: string | undefined }): WstunError;
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
 * Opens a connection to the host of `url` (ws: or wss:). The caller destroys its socket.
 * @throws WstunError relay-unreachable, out-of-descriptors, dial-cancelled, proxy-…
 */
export async function dialConnection(url: URL, options: ConnectionOptions): Promise<Connection> {
  const connection = await connect(url, options);
  options.onConnected?.();
  return connection;
}

async function connect(url: URL, options: ConnectionOptions): Promise<Connection> {
  if (options.via !== undefined) return await dialThrough(options.via, url, options);
  const { signal, timeoutMs = DIAL_TIMEOUT_MS, address: only, clock = systemClock } = options;
  const { known = only === undefined ? addressesKnown : new RelayAddresses() } = options;
  const { reach = usualReach() } = options;
  const { lookup = reach.lookup } = options;
  const since = clock.now();
  const place = placeOfUrl(url, reach);
  const where = describePlace(url, reach);
  const lentReads: LentReads = {};
  const { socket, address } = await dialTcp({
    ...place,
    signal,
    limitMs: Math.min(timeoutMs, CONNECT_TIMEOUT_MS),
    known,
    clock,
    prefer: reach.prefer,
    faultOfAddress: (to) => faultOfAddress(to, reach),
    beforeConnect: reach.beforeConnect,
    connect: (to) =>
      openSocket(url, { address: to, port: place.port, where, reach, alpn: options.alpn, lentReads, clock }),
    ...(only !== undefined ? { lookup: async () => [{ address: only, family: isIP(only) }] } : { lookup }),
  }).catch((error: unknown) => {
    throw error instanceof TcpFault ? dialFault(error, { where, connected: false }) : error;
  });
  return {
    ...{ socket, lentReads, where, leftMs: timeoutMs - (clock.now() - since) },
    remote: formatHostPort({ host: address, port: place.port }),
    handleWorked: () => known.handleWorked(placeOf(place), address),
    handleFailed: () => known.handleFailed(placeOf(place), address),
    faultOf: (error) =>
      certificateFaultOf(socket) ?? dialFault(error, { where, connected: true, isPlain: url.protocol !== 'wss:' }),
  };
}

/** TLS to the relay runs inside the tunnel. */
async function dialThrough(via: Via, url: URL, options: ConnectionOptions): Promise<Connection> {
  const { signal, timeoutMs = DIAL_TIMEOUT_MS, clock = systemClock, reach = usualReach() } = options;
  const where = describeThrough(via, url, reach);
  const tunnel = await via.connect(placeOfUrl(url, reach), { signal, clock, reach });
  const lentReads: LentReads = {};
  const tls = { under: { socket: tunnel }, where, reach, alpn: options.alpn, lentReads, clock };
  const socket = url.protocol === 'wss:' ? openTls(url, tls) : tunnel;
  // As on the winner of a race: without a listener, an error before its owner takes over would end the process.
  socket.on('error', () => {});
  return {
    ...{ socket, lentReads, where, remote: where, leftMs: timeoutMs },
    handleWorked: () => {},
    handleFailed: () => {},
    faultOf: (error) =>
      certificateFaultOf(socket) ?? dialFault(error, { where, connected: true, isPlain: url.protocol !== 'wss:' }),
  };
}

/** What `remote` of a link through a proxy says. */
export function describeThrough(via: Via, url: URL, reach: Reach = usualReach()): string {
  return `${describePlace(url, reach)} through ${via.name}`;
}

interface Opening {
  readonly address: string;
  readonly port: number;
  readonly where: string;
  readonly reach: Reach;
  readonly alpn: readonly string[] | undefined;
  readonly lentReads: LentReads;
  readonly clock: Clock;
}

type TlsOpening = Omit<Opening, 'address' | 'port'> & { readonly under: TlsOptions };

/** TLS starts automatically when TCP is connected. */
function openSocket(url: URL, opening: Opening): Socket {
  const { address, port, reach } = opening;
  const isTls = url.protocol === 'wss:';
  const socket = isTls ? openTls(url, { ...opening, under: tcpOptions(address, port, reach) }) : openPlain(opening);
  return socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS);
}

/** Some front ends insist on ALPN. */
function openTls(url: URL, { under, where, reach, alpn = ['http/1.1'], lentReads, clock }: TlsOpening): Socket {
  const place = { host: hostOf(url), port: portOf(url), where };
  // `onread` is documented, but not in the types.
  const options: TlsOptions & { readonly onread: OnReadOpts } = {
    ALPNProtocols: [...alpn],
    ...under,
    onread: readLent(lentReads, (chunk) => socket.push(chunk)),
  };
  const socket: TLSSocket = reach.tls.connect(options, place, clock);
  return socket;
}

function openPlain({ address, port, reach, lentReads }: Opening): Socket {
  const onread = readLent(lentReads, (chunk) => socket.push(chunk));
  const socket: Socket = tcpConnect({ ...tcpOptions(address, port, reach), onread });
  return socket;
}

function tcpOptions(host: string, port: number, reach: Reach) {
  const localAddress = localAddressFor(host, reach);
  return { host, port, ...(localAddress !== undefined && { localAddress }) };
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

/** Those that may be dialled. Rejects as the resolver. */
export async function addressesOfUrl(
  url: URL,
  lookup?: Lookup,
  reach: Reach = usualReach(),
): Promise<readonly UrlAddress[]> {
  const { host, port } = placeOfUrl(url, reach);
  const addresses = (await addressesOf(host, lookup ?? reach.lookup)).filter(
    (each) => faultOfAddress(each, reach) === undefined,
  );
  return addresses.map((address) => ({ address, remote: formatHostPort({ host: address, port }) }));
}
