/**
 * UDP that the firewall has led here (TPROXY): the sockets that receive it, and those that answer in the name of its
 * destinations. Owns their descriptors; which datagrams go where is decided by udp-flows.ts.
 */
import { type Clock, systemClock, type Timer } from '../clock.ts';
import { formatHostPort } from '../net/host-port.ts';
import { formatIp } from '../net/ip.ts';
import type { Logger } from '../observability/logger.ts';
import { FLOW_IDLE_MS } from '../tunnel/stream/flow-table.ts';
import type { AssociationOpener } from '../tunnel/stream/services.ts';
import { CallFault, type Native } from './native.ts';
import type { LoopCheck } from './refused-places.ts';
import type { Place } from './socket-address.ts';
import { listenFault } from './transparent-listener.ts';
import { UdpFlows } from './udp-flows.ts';

/** Destinations that have answered lately. A socket that is missing is made again within microseconds. */
const MAX_ANSWERING = 256;
const LOOK_EVERY_MS = 10_000;
/** Datagrams that are taken before connections have their turn again. */
const MAX_BATCHES = 8;

export interface TransparentDatagramsOptions {
  readonly places: readonly Place[];
  readonly native: Native;
  readonly opener: AssociationOpener;
  readonly loops: LoopCheck;
  readonly logger: Logger;
}

export class TransparentDatagrams {
  private readonly sockets: { readonly fd: number; readonly stop: () => void }[] = [];
  private readonly answering: AnsweringSockets;
  private readonly flows: UdpFlows;
  private isClosed = false;

  constructor(private readonly options: TransparentDatagramsOptions) {
    const { native, opener, loops, logger } = options;
    this.answering = new AnsweringSockets(native, logger);
    this.flows = new UdpFlows({
      ...{ opener, loops, logger },
      answer: (bytes, from, to) => this.answering.send(bytes, from, to),
    });
  }

  /** @throws WstunError cannot-listen, transparent-not-permitted */
  async start(): Promise<void> {
    const { places, native } = this.options;
    for (const place of places) {
      try {
        const fd = native.bindTransparent(place);
        this.sockets.push({ fd, stop: native.onReadable(fd, () => this.read(fd)) });
      } catch (error) {
        if (error instanceof CallFault && error.code === 'EAFNOSUPPORT' && places.length > 1) continue;
        throw listenFault(error, place, 'tproxy');
      }
    }
  }

  /** Datagrams have no end to wait for. */
  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    for (const { fd, stop } of this.sockets) {
      stop();
      this.options.native.close(fd);
    }
    this.flows.close();
    this.answering.close();
  }

  private read(fd: number): void {
    const { native } = this.options;
    for (let batch = 0; batch < MAX_BATCHES && !this.isClosed; batch++) {
      const mayHaveMore = native.receive(fd, (datagram) => this.flows.handleDatagram(datagram));
      if (!mayHaveMore) return;
    }
    // No signal tells of what is still there.
    setImmediate(() => this.read(fd));
  }
}

/** One socket for each destination that answers, bound to its address and port. */
class AnsweringSockets {
  private readonly sockets = new Map<string, { readonly fd: number; usedAt: number }>();
  private timer: Timer | undefined;

  constructor(
    private readonly native: Native,
    private readonly logger: Logger,
    private readonly clock: Clock = systemClock,
  ) {}

  send(bytes: Uint8Array, from: Place, to: Place): void {
    if (from.ip.length !== to.ip.length) return;
    const key = formatHostPort({ host: formatIp(from.ip), port: from.port });
    const socket = this.sockets.get(key) ?? this.open(from);
    if (socket === undefined) return;
    socket.usedAt = this.clock.now();
    this.sockets.delete(key);
    this.sockets.set(key, socket);
    this.native.send(socket.fd, bytes, to);
    if (this.sockets.size > MAX_ANSWERING) this.closeOldest();
    this.timer ??= this.look();
  }

  close(): void {
    this.clock.clearTimeout(this.timer);
    for (const { fd } of this.sockets.values()) this.native.close(fd);
    this.sockets.clear();
  }

  private open(place: Place): { readonly fd: number; usedAt: number } | undefined {
    try {
      return { fd: this.native.bindForeign(place), usedAt: 0 };
    } catch (error) {
      this.logger.debug({ error: String(error) }, 'an answer was dropped');
      return undefined;
    }
  }

  private closeOldest(): void {
    for (const [key, { fd }] of this.sockets) {
      this.sockets.delete(key);
      this.native.close(fd);
      return;
    }
  }

  private look(): Timer {
    const timer = this.clock.setTimeout(() => {
      for (const [key, { fd, usedAt }] of this.sockets) {
        if (usedAt > this.clock.now() - FLOW_IDLE_MS) break;
        this.sockets.delete(key);
        this.native.close(fd);
      }
      this.timer = this.sockets.size > 0 ? this.look() : undefined;
    }, LOOK_EVERY_MS);
    timer.unref();
    return timer;
  }
}
