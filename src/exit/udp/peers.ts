/**
 * The addresses to which an association has sent, and so those from which it receives, with any port
 * (address-dependent filtering, RFC 4787 §5). Bounded: the one idle for longest goes. Pure, time is passed in.
 */
import { formatIp, type IpBytes } from '../../net/ip.ts';
import type { Target } from '../../tunnel/stream/stream.ts';
import { type EntryShare, SharedMap } from './entry-share.ts';

/** A program that searches a DHT asks hundreds of nodes within minutes. Entries of about 200 bytes. */
const MAX_PEERS = 1_024;
/** Without a datagram in either direction, ms (RFC 4787 REQ-5: at least 120 s). */
const PEER_IDLE_MS = 120_000;
/** What is newer need not be noted again: a Map that is changed for each datagram costs more than the rest, ms. */
const NOTE_AGAIN_MS = 1_000;

export class PeerAddress {
  /** As sockets write it, too. */
  readonly text: string;
  notedAt = Number.NEGATIVE_INFINITY;
  private last: Target;

  constructor(readonly ip: IpBytes) {
    this.text = formatIp(ip);
    this.last = { kind: 'ip', ip, port: 0 };
  }

  /** It with a port: mostly the one of the datagram before. */
  at(port: number): Target {
    if (this.last.port !== port) this.last = { kind: 'ip', ip: this.ip, port };
    return this.last;
  }
}

export class PeerAddresses {
  private readonly peers: SharedMap<string, PeerAddress>;

  constructor(share: EntryShare, most = MAX_PEERS) {
    this.peers = new SharedMap(share, most);
  }

  clear(): void {
    this.peers.clear();
  }

  get size(): number {
    return this.peers.size;
  }

  /** The one that is known, or one that is known from the next datagram to it on. */
  of(ip: IpBytes): PeerAddress {
    const peer = new PeerAddress(ip);
    return this.peers.get(peer.text) ?? peer;
  }

  /** A datagram goes there. */
  noteSent(peer: PeerAddress, now: number): void {
    if (now - peer.notedAt < NOTE_AGAIN_MS) return;
    peer.notedAt = now;
    this.peers.set(peer.text, peer);
  }

  /** A datagram has come from there: undefined if it must be dropped. @param text of the sender, without its port */
  admit(text: string, now: number): PeerAddress | undefined {
    const peer = this.peers.get(text);
    if (peer === undefined) return undefined;
    if (now - peer.notedAt >= PEER_IDLE_MS) {
      this.peers.delete(text);
      return undefined;
    }
    this.noteSent(peer, now);
    return peer;
  }
}
