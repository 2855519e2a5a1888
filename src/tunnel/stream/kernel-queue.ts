/** Bytes written to a TCP socket that the peer's kernel has not acknowledged, by /proc/self/net/tcp (proc(5)). */
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { sleep } from '../../async/abortable.ts';
import { type Clock, systemClock } from '../../clock.ts';

/** The pause after a reading, as a multiple of its duration (some µs per socket): a tenth of a core at most. */
const PAUSE_FACTOR = 9;

/** `ADDRESS:PORT ADDRESS:PORT STATE TX_QUEUE:`, all in upper-case hex. */
const ROW = /[0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]{2} ([0-9A-F]{8}):/g;

/** Bytes by the two ports, own one first. Two connections of the same ports to different hosts count as one. */
type Queues = ReadonlyMap<string, number>;

class QueueTable {
  private next: Promise<Queues | undefined> | undefined;
  private pauseUntil = 0;

  constructor(
    private readonly path: string,
    private readonly clock: Clock,
  ) {}

  /** All callers before a reading begins share it. Undefined where the system has no such table. */
  latest(): Promise<Queues | undefined> {
    this.next ??= this.read();
    return this.next;
  }

  private async read(): Promise<Queues | undefined> {
    await sleep(this.clock, Math.max(0, this.pauseUntil - this.clock.now()));
    this.next = undefined;
    const begun = this.clock.now();
    const text = await readFile(this.path, 'latin1').catch(() => undefined);
    const queues = text === undefined ? undefined : parse(text);
    const now = this.clock.now();
    this.pauseUntil = now + PAUSE_FACTOR * (now - begun);
    return queues;
  }
}

function parse(text: string): Queues {
  const queues = new Map<string, number>();
  for (const [, local, remote, bytes] of text.matchAll(ROW)) {
    const key = `${local}:${remote}`;
    queues.set(key, (queues.get(key) ?? 0) + Number.parseInt(bytes ?? '0', 16));
  }
  return queues;
}

const V4 = new QueueTable('/proc/self/net/tcp', systemClock);
const V6 = new QueueTable('/proc/self/net/tcp6', systemClock);

/** Bytes that the kernel holds for the peer, a FIN counted as one; undefined where the system does not tell. */
export async function unacknowledgedBytes(socket: Socket): Promise<number | undefined> {
  const { localPort, remotePort } = socket;
  if (localPort === undefined || remotePort === undefined) return 0;
  const key = `${hex(localPort)}:${hex(remotePort)}`;
  const table = socket.remoteFamily === 'IPv6' ? V6 : V4;
  const bytes = (await table.latest())?.get(key);
  // The kernel writes the table in portions, and a row can fall between two: a missing row is looked for again.
  if (bytes !== undefined) return bytes;
  const queues = await table.latest();
  return queues === undefined ? undefined : (queues.get(key) ?? 0);
}

function hex(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, '0');
}
