/**
 * The flows of a UDP forward: one association for each program, which is an address and a port, so that answers find
 * back. Decides how many there are and how long they live. Touches no socket.
 */
import { type Clock, systemClock, type Timer } from '../clock.ts';
import type { WstunError } from '../errors.ts';
import { LazyAssociation } from '../tunnel/stream/lazy-association.ts';
import type { AssociationOpener } from '../tunnel/stream/services.ts';
import type { Target } from '../tunnel/stream/stream.ts';

/** Programs at once. */
export const MAX_FLOWS = 256;
/** As the exit keeps its socket; RFC 4787 §4.3 asks for two minutes. */
export const FLOW_IDLE_MS = 120_000;
/** Only a flow that has been idle for so long, ms, makes room: a flood of addresses ends none that is in use. */
const ROOM_AFTER_MS = 1_000;
const LOOK_EVERY_MS = 10_000;

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

interface Flow {
  readonly association: LazyAssociation;
  usedAt: number;
}

export class UdpFlows {
  private readonly flows = new Map<string, Flow>();
  private readonly clock: Clock;
  private timer: Timer | undefined;
  private isClosed = false;

  constructor(private readonly options: UdpFlowsOptions) {
    this.clock = options.clock ?? systemClock;
  }

  get size(): number {
    return this.flows.size;
  }

  /** Takes a program's datagram. */
  handleDatagram(bytes: Uint8Array, port: number, address: string): void {
    const flow = this.flows.get(keyOf(port, address)) ?? this.begin(port, address);
    if (flow === undefined) return;
    flow.usedAt = this.clock.now();
    flow.association.send(bytes);
  }

  /** Idempotent. Nothing is received or sent afterwards. */
  close(): void {
    this.isClosed = true;
    this.clock.clearTimeout(this.timer);
    for (const { association } of this.flows.values()) association.close();
    this.flows.clear();
  }

  /** Undefined: there is no room. */
  private begin(port: number, address: string): Flow | undefined {
    if (this.isClosed || !this.makeRoom()) return undefined;
    const { opener, to, answer, onFailed } = this.options;
    const flow: Flow = {
      usedAt: this.clock.now(),
      association: new LazyAssociation(
        opener,
        to,
        {
          handleDatagram: (bytes) => {
            flow.usedAt = this.clock.now();
            answer(bytes, port, address);
          },
          handleFailed: onFailed,
        },
        this.clock,
      ),
    };
    this.flows.set(keyOf(port, address), flow);
    this.timer ??= this.look();
    return flow;
  }

  /** False: all are in use. */
  private makeRoom(): boolean {
    if (this.flows.size < MAX_FLOWS) return true;
    let usedAt = this.clock.now() - ROOM_AFTER_MS;
    let idlest: string | undefined;
    for (const [key, flow] of this.flows) {
      if (flow.usedAt > usedAt) continue;
      ({ usedAt } = flow);
      idlest = key;
    }
    if (idlest !== undefined) this.end(idlest);
    return idlest !== undefined;
  }

  private look(): Timer {
    return this.clock
      .setTimeout(() => {
        const idleSince = this.clock.now() - FLOW_IDLE_MS;
        for (const [key, { usedAt }] of this.flows) if (usedAt <= idleSince) this.end(key);
        this.timer = this.flows.size > 0 ? this.look() : undefined;
      }, LOOK_EVERY_MS)
      .unref();
  }

  private end(key: string): void {
    this.flows.get(key)?.association.close();
    this.flows.delete(key);
  }
}

function keyOf(port: number, address: string): string {
  return `${port} ${address}`;
}
