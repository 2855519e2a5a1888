/**
 * Datagrams from a UDP listener at the exit: each remote sender has a socket of its own here, so that answers find
 * back. Owns the sockets; they are bounded, and one that was idle for too long goes.
 */
import { createSocket, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIPv6 } from 'node:net';
import { type Clock, systemClock, type Timer } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { dialFaultOf } from '../exit/target-dial-faults.ts';
import type { ForwardLog } from '../forward/forward-log.ts';
import type { HostPort } from '../net/host-port.ts';
import { formatIp, parseIp } from '../net/ip.ts';
import type { Target } from '../tunnel/stream/stream.ts';

/** Remote senders of one forward at once. */
export const MAX_FLOWS = 256;
/** RFC 4787 §4.3 asks for two minutes at least. */
export const FLOW_IDLE_MS = 120_000;
/** Only a sender that has been idle for so long, ms, makes room: a flood of addresses ends none that is in use. */
const MAKES_ROOM_MS = 1_000;
const SWEEP_MS = 10_000;
/** While its socket is being made. */
const MAX_WAITING = 16;
/** What the kernel does not take at once, bytes of a socket; more is dropped. */
const MAX_UNSENT_BYTES = 256 * 1024;

type Reply = (bytes: Uint8Array) => void;

export interface UdpFlowsParts {
  /** Where they lead, from this machine. */
  readonly to: HostPort;
  readonly log: ForwardLog;
  /** Where they come from, for the log. */
  readonly place: string;
  readonly clock?: Clock;
}

export class UdpFlows {
  private readonly flows = new Map<string, Flow>();
  private sweep: Timer | undefined;
  private isOver = false;

  private readonly clock: Clock;

  constructor(private readonly parts: UdpFlowsParts) {
    this.clock = parts.clock ?? systemClock;
  }

  get size(): number {
    return this.flows.size;
  }

  /** @param reply sends to `from`; that of the latest datagram is used */
  handleDatagram(bytes: Uint8Array, from: Target, reply: (bytes: Uint8Array, to: Target) => void): void {
    if (this.isOver) return;
    const key = `${from.kind === 'ip' ? formatIp(from.ip) : from.name} ${from.port}`;
    const held = this.flows.get(key);
    const known = held?.isClosed === true ? undefined : held;
    if (known === undefined && !this.makeRoom()) return;
    const flow = known ?? new Flow(this.parts, this.clock);
    // At the end of the map: it was used last.
    this.flows.delete(key);
    this.flows.set(key, flow);
    flow.send(bytes, (answer) => {
      // An answer counts as use, too.
      if (this.flows.get(key) === flow) {
        this.flows.delete(key);
        this.flows.set(key, flow);
      }
      reply(answer, from);
    });
    this.sweep ??= this.clock.setTimeout(() => this.sweepIdle(), SWEEP_MS).unref();
  }

  close(): void {
    this.isOver = true;
    this.clock.clearTimeout(this.sweep);
    for (const flow of this.flows.values()) flow.close();
    this.flows.clear();
  }

  /** False: all are in use. */
  private makeRoom(): boolean {
    const [idlest] = this.flows;
    if (this.flows.size < MAX_FLOWS || idlest === undefined) return true;
    const [key, flow] = idlest;
    if (!flow.isClosed && this.clock.now() - flow.usedAt < MAKES_ROOM_MS) return false;
    this.flows.delete(key);
    flow.close();
    return true;
  }

  private sweepIdle(): void {
    this.sweep = undefined;
    for (const [key, flow] of this.flows) {
      if (this.clock.now() - flow.usedAt < FLOW_IDLE_MS) break;
      this.flows.delete(key);
      flow.close();
    }
    if (this.flows.size > 0) this.sweep = this.clock.setTimeout(() => this.sweepIdle(), SWEEP_MS).unref();
  }
}

class Flow {
  usedAt: number;
  private socket: Socket | undefined;
  private readonly waiting: Uint8Array[] = [];
  private reply: Reply = () => {};
  private state: 'making' | 'open' | 'closed' = 'making';

  constructor(
    { to, log, place }: UdpFlowsParts,
    private readonly clock: Clock,
  ) {
    this.usedAt = clock.now();
    this.open(to).catch((error: unknown) => {
      log.noteRefused(new WstunError(dialFaultOf(error)), place);
      this.close();
    });
  }

  /** It could not be opened: the next datagram tries again. */
  get isClosed(): boolean {
    return this.state === 'closed';
  }

  send(bytes: Uint8Array, reply: Reply): void {
    this.reply = reply;
    this.usedAt = this.clock.now();
    if (this.state === 'making') {
      if (this.waiting.length < MAX_WAITING) this.waiting.push(bytes);
      return;
    }
    const { socket } = this;
    if (socket === undefined || this.state === 'closed' || socket.getSendQueueSize() > MAX_UNSENT_BYTES) return;
    socket.send(bytes, () => {});
  }

  close(): void {
    this.state = 'closed';
    this.waiting.length = 0;
    this.socket?.close();
    this.socket = undefined;
  }

  private async open({ host, port }: HostPort): Promise<void> {
    const address = parseIp(host) === undefined ? (await lookup(host)).address : host;
    if (this.state === 'closed') return;
    const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
    this.socket = socket;
    socket.on('message', (bytes) => {
      this.usedAt = this.clock.now();
      this.reply(bytes);
    });
    // ECONNREFUSED of an open one: nobody listens there at the moment.
    socket.on('error', () => {
      if (this.state === 'making') this.close();
    });
    socket.connect(port, address, () => {
      if (this.state === 'closed') return;
      this.state = 'open';
      for (const bytes of this.waiting.splice(0)) socket.send(bytes, () => {});
    });
  }
}
