/**
 * BIND of SOCKS (RFC 1928 §4, §6): a program asks for a port at which one connection is to come, as active FTP does.
 * The port is the exit's. Two replies: where it listens, and who has connected.
 */
import type { Socket } from 'node:net';
import { WstunError } from '../errors.ts';
import { type IpBytes, network, networkContains, sameIp, unmapIp } from '../net/ip.ts';
import type { TunnelListener } from '../tunnel/stream/services.ts';
import type { OfferedStream, Target } from '../tunnel/stream/stream.ts';
import { endWith, faultOf, type ProxyContext, pipe } from './program-connection.ts';
import type { SocksNegotiation } from './socks-negotiation.ts';

/** For the one connection, ms. The program has told its peer where to connect, and that is done at once. */
export const BIND_WAIT_MS = 60_000;
/** Ports that wait at once: the exit gives a client some dozens in all. */
export const MAX_BINDS = 16;

/** Resolves when the socket is closed. @param expected who is to connect; an address of zeros: anyone */
export async function serveBind(
  socket: Socket,
  expected: Target,
  negotiation: SocksNegotiation,
  context: ProxyContext,
): Promise<void> {
  let offer: OfferedStream | undefined;
  try {
    offer = await acceptOne(socket, expected, negotiation, context);
    const stream = offer.accept();
    await pipe(socket, stream, context, negotiation.grantedAt(offer.target));
  } catch (error) {
    const fault = faultOf(error);
    context.logger.debug({ fault }, 'SOCKS BIND without a connection');
    await endWith(socket, negotiation.failed(fault), context.limits.lingerMs);
  } finally {
    context.binds.delete(socket);
    offer?.release();
  }
}

/** Sends the first reply. Rejects with a WstunError. */
async function acceptOne(
  socket: Socket,
  expected: Target,
  negotiation: SocksNegotiation,
  { listeners, binds, logger }: ProxyContext,
): Promise<OfferedStream> {
  if (listeners === undefined) throw new WstunError('proxy-command');
  // Only the exit could resolve a name, and does so for targets alone.
  if (expected.kind === 'name') throw new WstunError('proxy-address-type');
  if (binds.size >= MAX_BINDS) throw new WstunError('proxy-busy');
  if (socket.destroyed) throw new WstunError('dial-cancelled');
  binds.add(socket);
  const gone = new AbortController();
  const wait = new BindWait(expected.ip);
  const giveUp = (): void => {
    gone.abort();
    wait.fail(new WstunError('dial-cancelled'));
  };
  socket.once('close', giveUp);
  const limit = setTimeout(() => wait.fail(new WstunError('dial-timed-out')), BIND_WAIT_MS);
  let listener: TunnelListener | undefined;
  try {
    listener = await listeners.listenTcp(listenFor(expected.ip), wait, gone.signal);
    socket.write(negotiation.grantedAt(listener.bound));
    logger.debug({ target: listener.bound }, 'SOCKS BIND listens');
    return await wait.connection;
  } finally {
    clearTimeout(limit);
    socket.off('close', giveUp);
    wait.close();
    listener?.close();
  }
}

const LOOPBACK = [network('127.0.0.0/8'), network('::1/128')];

/**
 * Any port that the exit allows, on every address of the family of who is expected; on loopback, where only the exit's
 * own machine is.
 */
function listenFor(expected: IpBytes): Target {
  const ip = unmapIp(expected);
  const address = new Uint8Array(ip.length);
  if (LOOPBACK.some((range) => networkContains(range, ip))) {
    if (ip.length === 4) address[0] = 127;
    address[ip.length - 1] = 1;
  }
  return { kind: 'ip', ip: address, port: 0 };
}

/** Takes the first connection of who is expected, and refuses all others. */
class BindWait {
  readonly connection: Promise<OfferedStream>;
  private take: (offer: OfferedStream) => void = () => {};
  private reject: (error: WstunError) => void = () => {};
  private isOver = false;

  constructor(private readonly expected: IpBytes) {
    this.connection = new Promise((resolve, reject) => {
      this.take = resolve;
      this.reject = reject;
    });
    // Where the listener itself is refused nobody waits for it.
    this.connection.catch(() => {});
  }

  handleConnection(offer: OfferedStream): void {
    if (this.isOver || !this.isExpected(offer.target)) {
      offer.refuse('dial-refused');
      offer.release();
      return;
    }
    this.isOver = true;
    this.take(offer);
  }

  handleEnd(error: WstunError): void {
    this.fail(error);
  }

  fail(error: WstunError): void {
    this.isOver = true;
    this.reject(error);
  }

  /** Refuses whoever comes now. */
  close(): void {
    this.isOver = true;
  }

  private isExpected(from: Target): boolean {
    const isAnyone = this.expected.every((byte) => byte === 0);
    return isAnyone || (from.kind === 'ip' && sameIp(unmapIp(from.ip), unmapIp(this.expected)));
  }
}
