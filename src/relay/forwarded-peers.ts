/**
 * Who is on by way of this relay: the links that it splices, by exit, peer and address. What they carry is sealed, so
 * that sessions and streams cannot be told apart here. Pure.
 */
import { addressIn } from '../net/host-port.ts';

export interface ForwardedPeer {
  readonly exit: string;
  /** The name by which the relay knows it. */
  readonly peer: string;
  /** Without a port. */
  readonly address: string;
  /** By the clock, ms. */
  readonly since: number;
  links: number;
  /** Bytes to the client, and from it. */
  sent: number;
  received: number;
}

export class ForwardedPeers {
  /** The oldest first. */
  private readonly peers = new Map<string, ForwardedPeer>();
  /** Of peers that have gone, bytes. */
  private goneSent = 0;
  private goneReceived = 0;

  get size(): number {
    return this.peers.size;
  }

  get all(): Iterable<ForwardedPeer> {
    return this.peers.values();
  }

  /** Of all so far: bytes to clients, and from them. */
  get transferred(): { readonly sent: number; readonly received: number } {
    let [sent, received] = [this.goneSent, this.goneReceived];
    for (const peer of this.peers.values()) {
      sent += peer.sent;
      received += peer.received;
    }
    return { sent, received };
  }

  /** Links of clients that are spliced now. */
  get links(): number {
    let count = 0;
    for (const { links } of this.peers.values()) count += links;
    return count;
  }

  /** One more link. @param remote the client's, `192.0.2.1:80`, `[2001:db8::1]:80` */
  handleLink(exit: string, peer: string, remote: string, now: number): ForwardedPeer {
    const address = addressIn(remote);
    const key = `${exit} ${peer} ${address}`;
    const known = this.peers.get(key) ?? { exit, peer, address, since: now, links: 0, sent: 0, received: 0 };
    this.peers.set(key, known);
    known.links += 1;
    return known;
  }

  /** One of its links has ended. */
  handleEnd(peer: ForwardedPeer): void {
    peer.links -= 1;
    if (peer.links > 0) return;
    this.peers.delete(`${peer.exit} ${peer.peer} ${peer.address}`);
    this.goneSent += peer.sent;
    this.goneReceived += peer.received;
  }
}
