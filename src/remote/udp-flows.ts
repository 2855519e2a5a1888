/**
 * Datagrams from a UDP listener at the exit: each remote sender has a socket of its own here, so that answers find
 * back. Owns the sockets; they are bounded, and one that was idle for too long goes.
 */
import { createSocket, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIPv6 } from 'node:net';
import { type Clock, systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { dialFaultOf } from '../exit/target-dial-faults.ts';
import type { ForwardLog } from '../forward/forward-log.ts';
import type { HostPort } from '../net/host-port.ts';
import { formatIp, parseIp } from '../net/ip.ts';
import { FlowTable } from '../tunnel/stream/flow-table.ts';
import type { Target } from '../tunnel/stream/stream.ts';

/** Remote senders of one forward at once. */
export const MAX_FLOWS = 256;
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
  private readonly flows: FlowTable<Flow>;
  private isOver = false;

  constructor(private readonly parts: UdpFlowsParts) {
    this.flows = new FlowTable(parts.clock ?? systemClock, MAX_FLOWS);
  }

  get size(): number {
    return this.flows.size;
  }

  /** @param reply sends to `from`; that of the latest datagram is used */
  handleDatagram(bytes: Uint8Array, from: Target, reply: (bytes: Uint8Array, to: Target) => void): void {
    if (this.isOver) return;
    const key = `${from.kind === 'ip' ? formatIp(from.ip) : from.name} ${from.port}`;
    if (this.flows.get(key)?.isClosed === true) this.flows.delete(key);
    const known = this.flows.get(key);
    if (known === undefined && !this.flows.makeRoom()) return;
    const flow = known ?? new Flow(this.parts);
    this.flows.use(key, flow);
    flow.send(bytes, (answer) => {
      if (this.flows.get(key) === flow) this.flows.use(key, flow);
      reply(answer, from);
    });
  }

  close(): void {
    this.isOver = true;
    this.flows.close();
  }
}

class Flow {
  private socket: Socket | undefined;
  private readonly waiting: Uint8Array[] = [];
  private reply: Reply = () => {};
  private state: 'making' | 'open' | 'closed' = 'making';

  constructor({ to, log, place }: UdpFlowsParts) {
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
