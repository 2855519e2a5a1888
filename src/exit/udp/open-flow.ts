/**
 * The sockets of an association whose datagrams say where they go: one for each family, opened when it is needed. One
 * socket for all destinations (endpoint-independent mapping, RFC 4787 REQ-1), which receives only from addresses to
 * which it has sent.
 */
import { familyOf, type IpBytes } from '../../net/ip.ts';
import type { Target } from '../../tunnel/stream/stream.ts';
import { Destinations } from './destinations.ts';
import type { EntryShare } from './entry-share.ts';
import type { Flow, OpenAssociation } from './open-association.ts';
import { type PeerAddress, PeerAddresses } from './peers.ts';
import { type Family, UdpSocket } from './udp-socket.ts';

type MaybeIp = IpBytes | undefined;

/** After a socket could not be opened, ms. */
const OPEN_AGAIN_MS = 1_000;

interface OpenFlowOptions {
  readonly association: OpenAssociation;
  /** As of Destinations, of addresses. */
  readonly decide: (target: Target, before: IpBytes | undefined) => MaybeIp | Promise<MaybeIp>;
  readonly mayOpenSocket: () => boolean;
  readonly now: () => number;
  /** Of what it remembers; it gives that back when it is closed. */
  readonly share: EntryShare;
}

export class OpenFlow implements Flow {
  private readonly sockets = new Map<Family, UdpSocket>();
  private readonly openAgainAt = new Map<Family, number>();
  private readonly peers: PeerAddresses;
  private readonly destinations: Destinations;
  private isClosed = false;

  constructor(private readonly options: OpenFlowOptions) {
    const { decide, now, share } = options;
    this.peers = new PeerAddresses(share);
    this.destinations = new Destinations({
      share,
      decide: (target, before) => {
        const found = decide(target, before?.ip);
        const peerOf = (ip: MaybeIp) => ip && this.peers.of(ip);
        return found instanceof Promise ? found.then(peerOf) : peerOf(found);
      },
      send: (bytes, peer, port) => this.send(bytes, peer, port),
      now,
    });
  }

  handleDatagram(bytes: Uint8Array, to: Target | undefined): void {
    if (to !== undefined && !this.isClosed) this.destinations.handleDatagram(bytes, to);
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.destinations.clear();
    this.peers.clear();
    for (const socket of this.sockets.values()) socket.close();
    await Promise.all([...this.sockets.values()].map(({ closed }) => closed));
  }

  private send(bytes: Uint8Array, peer: PeerAddress, port: number): void {
    const socket = this.socketFor(familyOf(peer.ip));
    if (socket === undefined || !this.options.association.maySend(bytes.length)) return;
    this.peers.noteSent(peer, this.options.now());
    socket.send(bytes, peer.text, port);
  }

  private socketFor(family: Family): UdpSocket | undefined {
    const known = this.sockets.get(family);
    if (known !== undefined) return known;
    const isLater = this.options.now() >= (this.openAgainAt.get(family) ?? Number.NEGATIVE_INFINITY);
    if (this.isClosed || !isLater || !this.options.mayOpenSocket()) return undefined;
    const socket = new UdpSocket(family, {
      handleMessage: (bytes, sender, port) => this.handleMessage(bytes, sender, port),
      handleFailed: () => this.drop(family, socket),
    });
    this.sockets.set(family, socket);
    return socket;
  }

  private handleMessage(bytes: Buffer, sender: string, port: number): void {
    const peer = this.isClosed ? undefined : this.peers.admit(sender, this.options.now());
    if (peer !== undefined) this.options.association.deliver(bytes, peer.at(port));
  }

  /** The machine may lack this family, or have no descriptor left. */
  private drop(family: Family, socket: UdpSocket): void {
    this.sockets.delete(family);
    this.openAgainAt.set(family, this.options.now() + OPEN_AGAIN_MS);
    socket.close();
  }
}
