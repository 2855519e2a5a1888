/**
 * The command UDP ASSOCIATE (RFC 1928 §7): a UDP port beside the program's TCP connection, which is relayed by one
 * association of the tunnel. Owns the port; it ends with the connection, and the connection with it.
 */
import type { RemoteInfo } from 'node:dgram';
import type { Socket } from 'node:net';
import { parseIp } from '../../net/ip.ts';
import { bindDatagramSocket, type DatagramReceiver, type DatagramSocket } from '../../tunnel/stream/datagram-socket.ts';
import { LazyAssociation } from '../../tunnel/stream/lazy-association.ts';
import type { Target } from '../../tunnel/stream/stream.ts';
import { endWith, type ProxyContext, untilClosed } from '../program-connection.ts';
import { NOTHING, type SocksNegotiation } from '../socks-negotiation.ts';
import type { OpenAssociation } from './associations.ts';
import { datagramHeader, readDatagram } from './datagram-header.ts';

/**
 * Resolves when the connection is closed.
 * @param expected what the program says that it will send from: only its port counts, as dante, hev-socks5-server and
 * microsocks do; many programs give 0.0.0.0, or the address of an interface, for an address
 */
export async function serveUdpAssociate(
  socket: Socket,
  expected: Target,
  negotiation: SocksNegotiation,
  context: ProxyContext,
): Promise<void> {
  const { limits, logger, associations } = context;
  const relay = new UdpRelay(socket, expected.port, context);
  const bound = await relay.bind();
  const remove = bound && associations.add(relay);
  if (bound === undefined || remove === undefined) {
    relay.close();
    return endWith(socket, negotiation.failed('proxy-busy'), limits.lingerMs);
  }
  const leave = context.shutdown.watch(() => relay.end());
  logger.debug({}, 'UDP association opened');
  socket.write(negotiation.grantedAt(bound));
  // What a program sends here means nothing; its FIN ends the association, as in other implementations.
  socket.once('end', () => relay.end()).resume();
  await untilClosed(socket);
  relay.close();
  remove();
  leave();
}

class UdpRelay implements DatagramReceiver, OpenAssociation {
  usedAt = performance.now();
  private readonly program: string;
  private readonly association: LazyAssociation;
  private port: DatagramSocket | undefined;

  /** `programPort`: 0 if it is not known: then the first one that sends something is taken, and no other one after. */
  constructor(
    private readonly socket: Socket,
    private programPort: number,
    private readonly context: ProxyContext,
  ) {
    this.program = withoutMapping(socket.remoteAddress);
    this.association = new LazyAssociation(context.opener, undefined, {
      handleDatagram: (bytes, from) => this.handleAnswer(bytes, from),
      handleFailed: (error) => context.associations.noteFailure(error),
    });
  }

  /** At the address that the program has reached. Returns that and the port; undefined if the system has none. */
  async bind(): Promise<Target | undefined> {
    const host = withoutMapping(this.socket.localAddress);
    const ip = parseIp(host.replace(/%.*$/, ''));
    if (ip === undefined) return undefined;
    try {
      this.port = await bindDatagramSocket({ host, port: 0 }, this);
    } catch (error) {
      this.context.logger.error({ error: String(error) }, 'cannot open a UDP port');
      return undefined;
    }
    if (this.socket.destroyed) this.close();
    return { kind: 'ip', ip, port: this.port.local.port };
  }

  end(): void {
    this.close();
    void endWith(this.socket, NOTHING, this.context.limits.lingerMs);
  }

  close(): void {
    this.port?.close();
    this.association.close();
  }

  handleDatagram(bytes: Buffer, { address, port }: RemoteInfo): void {
    if (address !== this.program || (this.programPort !== 0 && port !== this.programPort)) return;
    const datagram = readDatagram(bytes);
    if (datagram === undefined) return;
    this.programPort = port;
    this.usedAt = performance.now();
    this.association.send(datagram.data, datagram.target);
  }

  handleFailed(error: Error): void {
    this.context.logger.error({ error: error.message }, 'a UDP port has failed');
    this.end();
  }

  private handleAnswer(bytes: Uint8Array, from: Target | undefined): void {
    if (from === undefined) return;
    this.usedAt = performance.now();
    this.port?.send([datagramHeader(from), bytes], this.programPort, this.program);
  }
}

/** A socket for both families shows IPv4 addresses as mapped ones. */
function withoutMapping(address = ''): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}
