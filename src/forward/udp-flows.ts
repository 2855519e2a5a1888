/**
 * The flows of a UDP forward: one association for each program, which is an address and a port, so that answers find
 * back. Decides where each datagram goes. Touches no socket.
 */
import { type Clock, systemClock } from '../clock.ts';
import type { WstunError } from '../errors.ts';
import { FlowTable } from '../tunnel/stream/flow-table.ts';
import { LazyAssociation } from '../tunnel/stream/lazy-association.ts';
import type { AssociationOpener } from '../tunnel/stream/services.ts';
import type { Target } from '../tunnel/stream/stream.ts';

/** Programs at once. */
export const MAX_FLOWS = 256;

export interface UdpFlowsOptions {
  readonly opener: AssociationOpener;
  /** Where all of them lead. */
  readonly to: Target;
  /** Sends to a program. */
  answer(bytes: Uint8Array, port: number, address: string): void;
  /** No association could be opened, or one has ended. */
  onFailed(error: WstunError): void;
  readonly clock?: Clock;
}

export class UdpFlows {
  private readonly flows: FlowTable<LazyAssociation>;
  private readonly clock: Clock;
  private isClosed = false;

  constructor(private readonly options: UdpFlowsOptions) {
    this.clock = options.clock ?? systemClock;
    this.flows = new FlowTable(this.clock, MAX_FLOWS);
  }

  get size(): number {
    return this.flows.size;
  }

  /** Takes a program's datagram. */
  handleDatagram(bytes: Uint8Array, port: number, address: string): void {
    const key = keyOf(port, address);
    const flow = this.flows.get(key) ?? this.begin(key, port, address);
    if (flow === undefined) return;
    this.flows.use(key, flow);
    flow.send(bytes);
  }

  /** Idempotent. Nothing is received or sent afterwards. */
  close(): void {
    this.isClosed = true;
    this.flows.close();
  }

  /** Undefined: there is no room. */
  private begin(key: string, port: number, address: string): LazyAssociation | undefined {
    if (this.isClosed || !this.flows.makeRoom()) return undefined;
    const { opener, to, answer, onFailed } = this.options;
    const flow = new LazyAssociation(
      opener,
      to,
      {
        handleDatagram: (bytes) => {
          if (this.flows.get(key) === flow) this.flows.use(key, flow);
          answer(bytes, port, address);
        },
        handleFailed: onFailed,
      },
      this.clock,
    );
    return flow;
  }
}

function keyOf(port: number, address: string): string {
  return `${port} ${address}`;
}
