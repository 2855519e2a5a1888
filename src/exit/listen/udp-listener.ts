/**
 * The socket of a UDP listener. It receives from everyone, and sends only to who has sent to it lately: so nobody can
 * be made the target of datagrams for which he has not asked.
 */
import { BoundedMap } from '../../limits/bounded-map.ts';
import { formatIp } from '../../net/ip.ts';
import type { Target } from '../../tunnel/stream/stream.ts';
import type { Flow, OpenAssociation } from '../udp/open-association.ts';
import { UdpSocket } from '../udp/udp-socket.ts';
import { targetOf } from './bind.ts';

/** Addresses with ports that have sent lately; the one idle for longest goes. Entries of about 300 bytes. */
const MAX_ASKERS = 4_096;
/** As of an association, ms. */
const ASKER_IDLE_MS = 120_000;
/** As in peers.ts, ms. */
const NOTE_AGAIN_MS = 1_000;

interface Asker {
  /** As the socket writes it. */
  readonly address: string;
  readonly from: Target;
  notedAt: number;
}

export class UdpListenerFlow implements Flow {
  /** Resolves when its port is free. */
  readonly closed: Promise<void>;
  private readonly socket: UdpSocket;
  private readonly askers = new BoundedMap<string, Asker>(MAX_ASKERS);

  constructor(
    private readonly host: string,
    private readonly association: OpenAssociation,
    private readonly now: () => number,
  ) {
    const handler = {
      handleMessage: (bytes: Buffer, sender: string, port: number) => this.handleMessage(bytes, sender, port),
      handleFailed: () => {},
    };
    this.socket = new UdpSocket(host.includes(':') ? 6 : 4, handler, { isDual: this.isDual });
    this.closed = this.socket.closed;
  }

  /** Rejects with the system's error. */
  async bind(port: number): Promise<Target> {
    try {
      await this.socket.bind(this.host, port);
    } catch (error) {
      await this.close();
      throw error;
    }
    const bound = this.socket.bound;
    return targetOf(bound.address, bound.port);
  }

  handleDatagram(bytes: Uint8Array, to: Target | undefined): void {
    if (to?.kind !== 'ip') return;
    const address = this.isDual && to.ip.length === 4 ? `::ffff:${formatIp(to.ip)}` : formatIp(to.ip);
    const asker = this.askers.get(keyOf(address, to.port));
    if (asker === undefined || this.now() - asker.notedAt >= ASKER_IDLE_MS) return;
    if (this.association.maySend(bytes.length)) this.socket.send(bytes, asker.address, to.port);
  }

  async close(): Promise<void> {
    this.socket.close();
    await this.socket.closed;
  }

  /** One socket for all addresses of both families. */
  private get isDual(): boolean {
    return this.host === '::';
  }

  private handleMessage(bytes: Buffer, address: string, port: number): void {
    const key = keyOf(address, port);
    const now = this.now();
    let asker = this.askers.get(key);
    if (asker === undefined || now - asker.notedAt >= NOTE_AGAIN_MS) {
      asker = { address, from: asker?.from ?? targetOf(address, port), notedAt: now };
      this.askers.set(key, asker);
    }
    this.association.deliver(bytes, asker.from);
  }
}

function keyOf(address: string, port: number): string {
  return `${address} ${port}`;
}
