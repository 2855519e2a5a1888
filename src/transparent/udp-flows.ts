/**
 * The flows of a transparent proxy's datagrams: one association for each program, which is an address and a port of the
 * network (endpoint-independent mapping, RFC 4787 §4.1). Decides which datagrams go where and how long a flow lives.
 * Touches no socket: datagrams come in and go out by its calls.
 */
import { type Clock, systemClock, type Timer } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort } from '../net/host-port.ts';
import { formatIp } from '../net/ip.ts';
import { specialRange } from '../net/special-ranges.ts';
import type { Logger } from '../observability/logger.ts';
import type { Association, AssociationOpener } from '../tunnel/stream/services.ts';
import type { Target } from '../tunnel/stream/stream.ts';
import type { ReceivedDatagram } from './native.ts';
import { type LoopCheck, loopReason } from './refused-places.ts';
import type { Place } from './socket-address.ts';

/** A household's programs at once, and to spare: each look-up of a name is one. */
const MAX_FLOWS = 1_024;
/** Only a flow that has been idle for so long, ms, makes room: a flood of addresses ends none that is in use. */
const ROOM_AFTER_MS = 1_000;
/** As the exit keeps its socket; RFC 4787 §4.3 asks for two minutes. */
export const FLOW_IDLE_MS = 120_000;
const LOOK_EVERY_MS = 10_000;
/** Special addresses to which a flow has sent, and from which answers may therefore come. */
const MAX_ASKED = 64;

export interface UdpFlowsOptions {
  readonly opener: AssociationOpener;
  readonly loops: LoopCheck;
  readonly logger: Logger;
  /** Sends to a program, as if from that place. */
  answer(bytes: Uint8Array, from: Place, to: Place): void;
  readonly clock?: Clock;
  /** Default: MAX_FLOWS. */
  readonly maxFlows?: number;
}

interface Flow {
  readonly association: Association;
  readonly asked: Set<string>;
  usedAt: number;
}

export class UdpFlows {
  /** By the place of the program; the one that was used longest ago comes first. */
  private readonly flows = new Map<string, Flow>();
  private readonly clock: Clock;
  private readonly maxFlows: number;
  private timer: Timer | undefined;
  private isClosed = false;

  constructor(private readonly options: UdpFlowsOptions) {
    this.clock = options.clock ?? systemClock;
    this.maxFlows = options.maxFlows ?? MAX_FLOWS;
  }

  get size(): number {
    return this.flows.size;
  }

  /** A program's datagram, whose bytes it takes. */
  handleDatagram({ bytes, source, destination }: ReceivedDatagram): void {
    if (this.isClosed) return;
    const { logger, loops } = this.options;
    const reason = loopReason(destination, loops);
    if (reason !== undefined) return logger.debug({ reason }, 'a datagram was dropped');
    const key = keyOf(source);
    const flow = this.flows.get(key) ?? this.begin(key, source);
    if (flow === undefined) return;
    this.touch(key, flow);
    if (flow.asked.size < MAX_ASKED) flow.asked.add(formatIp(destination.ip));
    flow.association.send(bytes, { kind: 'ip', ...destination });
  }

  close(): void {
    this.isClosed = true;
    this.clock.clearTimeout(this.timer);
    for (const { association } of this.flows.values()) association.close();
    this.flows.clear();
  }

  /** Undefined: there is no room, or the tunnel cannot carry datagrams now. */
  private begin(key: string, source: Place): Flow | undefined {
    if (!this.makeRoom()) return undefined;
    try {
      const association = this.options.opener.openAssociation(undefined, {
        handleDatagram: (bytes, from) => this.handleAnswer(key, source, bytes, from),
        handleEnd: (error) => {
          if (error !== undefined) this.options.logger.debug({ fault: error.fault }, 'a flow of datagrams has ended');
          this.flows.delete(key);
        },
      });
      const flow = { association, asked: new Set<string>(), usedAt: this.clock.now() };
      this.flows.set(key, flow);
      this.timer ??= this.look();
      return flow;
    } catch (error) {
      if (!(error instanceof WstunError)) throw error;
      this.options.logger.debug({ fault: error.fault }, 'a datagram was dropped');
      return undefined;
    }
  }

  /**
   * An exit must not speak for a machine of the local network that was never asked: its own network is what a program
   * trusts.
   */
  private handleAnswer(key: string, source: Place, bytes: Uint8Array, from: Target | undefined): void {
    const flow = this.flows.get(key);
    if (flow === undefined || from?.kind !== 'ip') return;
    if (specialRange(from.ip) !== undefined && !flow.asked.has(formatIp(from.ip))) return;
    this.touch(key, flow);
    this.options.answer(bytes, from, source);
  }

  private touch(key: string, flow: Flow): void {
    flow.usedAt = this.clock.now();
    this.flows.delete(key);
    this.flows.set(key, flow);
  }

  /** False: all are in use. */
  private makeRoom(): boolean {
    const [idlest] = this.flows;
    if (this.flows.size < this.maxFlows || idlest === undefined) return true;
    const [key, { association, usedAt }] = idlest;
    if (this.clock.now() - usedAt < ROOM_AFTER_MS) return false;
    this.flows.delete(key);
    association.close();
    return true;
  }

  private look(): Timer {
    const timer = this.clock.setTimeout(() => {
      const oldest = this.clock.now() - FLOW_IDLE_MS;
      for (const [key, { association, usedAt }] of this.flows) {
        if (usedAt > oldest) break;
        this.flows.delete(key);
        association.close();
      }
      this.timer = this.flows.size > 0 ? this.look() : undefined;
    }, LOOK_EVERY_MS);
    timer.unref();
    return timer;
  }
}

function keyOf({ ip, port }: Place): string {
  return formatHostPort({ host: formatIp(ip), port });
}
