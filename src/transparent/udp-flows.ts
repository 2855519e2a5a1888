/**
 * The flows of a transparent proxy's datagrams: one association for each program, which is an address and a port of the
 * network (endpoint-independent mapping, RFC 4787 §4.1). Decides which datagrams go where.
 * Touches no socket: datagrams come in and go out by its calls.
 */
import { type Clock, systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort } from '../net/host-port.ts';
import { formatIp } from '../net/ip.ts';
import { specialRange } from '../net/special-ranges.ts';
import type { Logger } from '../observability/logger.ts';
import { FlowTable } from '../tunnel/stream/flow-table.ts';
import type { Association, AssociationOpener } from '../tunnel/stream/services.ts';
import type { Target } from '../tunnel/stream/stream.ts';
import type { ReceivedDatagram } from './native.ts';
import { type LoopCheck, loopReason } from './refused-places.ts';
import type { Place } from './socket-address.ts';

/** A household's programs at once, and to spare: each look-up of a name is one. */
const MAX_FLOWS = 1_024;
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
  close(): void;
}

export class UdpFlows {
  /** By the place of the program. */
  private readonly flows: FlowTable<Flow>;
  private isClosed = false;

  constructor(private readonly options: UdpFlowsOptions) {
    this.flows = new FlowTable(options.clock ?? systemClock, options.maxFlows ?? MAX_FLOWS);
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
    this.flows.use(key, flow);
    if (flow.asked.size < MAX_ASKED) flow.asked.add(formatIp(destination.ip));
    flow.association.send(bytes, { kind: 'ip', ...destination });
  }

  close(): void {
    this.isClosed = true;
    this.flows.close();
  }

  /** Undefined: there is no room, or the tunnel cannot carry datagrams now. */
  private begin(key: string, source: Place): Flow | undefined {
    if (!this.flows.makeRoom()) return undefined;
    try {
      const association = this.options.opener.openAssociation(undefined, {
        handleDatagram: (bytes, from) => this.handleAnswer(key, source, bytes, from),
        handleEnd: (error) => {
          if (error !== undefined) this.options.logger.debug({ fault: error.fault }, 'a flow of datagrams has ended');
          this.flows.delete(key);
        },
      });
      return { association, asked: new Set<string>(), close: () => association.close() };
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
    this.flows.use(key, flow);
    this.options.answer(bytes, from, source);
  }
}

function keyOf({ ip, port }: Place): string {
  return formatHostPort({ host: formatIp(ip), port });
}
