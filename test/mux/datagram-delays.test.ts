/** How long datagrams and streams wait for each other on paths of all kinds, in virtual time. */
import { describe, expect, it } from 'vitest';
import { DatagramPath, percentile } from '../support/mux/datagram-path.ts';

/** 20 Mbit/s, 40 ms. */
const USUAL = { bytesPerMs: 2_500, oneWayMs: 20 };
/** 64 kbit/s, 40 ms. */
const SLOW = { bytesPerMs: 8, oneWayMs: 20 };

/** Sends datagrams and notes the delay of each that arrives, by its number. */
class Flow {
  readonly delays: (number | undefined)[] = [];
  readonly order: number[] = [];
  readonly id: number;
  private readonly sentAt: number[] = [];

  constructor(private readonly path: DatagramPath) {
    this.id = path.open('udp');
    const { onEvent } = path.exit;
    path.exit.onEvent = (event, now) => {
      onEvent(event, now);
      if (event.type !== 'datagram' || event.stream !== this.id) return;
      const number = Buffer.from(event.content).readUInt32BE(0);
      this.order.push(number);
      this.delays[number] = now - (this.sentAt[number] ?? Number.NaN);
    };
  }

  /** Returns its number. */
  send(bytes: number): number {
    const content = Buffer.alloc(Math.max(4, bytes));
    content.writeUInt32BE(this.sentAt.length, 0);
    this.path.client.session.mux.sendDatagram(this.id, content, undefined, this.path.now);
    return this.sentAt.push(this.path.now) - 1;
  }

  /** From now on, so many of so many bytes. */
  every(ms: number, bytes: number, from: number, to: number): void {
    const next = (at: number): void => {
      if (at < to)
        this.path.at(at, () => {
          this.send(bytes);
          next(at + ms);
        });
    };
    next(from);
  }

  get sent(): number {
    return this.sentAt.length;
  }

  get arrived(): number[] {
    return this.delays.filter((delay) => delay !== undefined);
  }
}

/** A stream that is always full. */
function upload(path: DatagramPath): { bytes: number } {
  const total = { bytes: 0 };
  const id = path.open();
  const { mux } = path.client.session;
  const fill = () => {
    while (mux.write(id, new Uint8Array(16 * 1024)));
  };
  const { onEvent, onWritable } = path.client;
  path.client.onEvent = (event, now) => {
    onEvent(event, now);
    if (event.type === 'opened' && event.stream === id) fill();
  };
  path.client.onWritable = (stream, now) => {
    onWritable(stream, now);
    if (stream === id) fill();
  };
  const { onData } = path.exit;
  path.exit.onData = (stream, bytes, now) => {
    onData(stream, bytes, now);
    if (stream === id) total.bytes += bytes;
  };
  return total;
}

/** Round trips of a small message of a stream, ms, each after the one before. */
function echo(path: DatagramPath, from: number): number[] {
  const times: number[] = [];
  const id = path.open();
  let sentAt = 0;
  const ask = () => {
    sentAt = path.now;
    path.client.session.mux.write(id, Buffer.alloc(64));
  };
  const atExit = path.exit.onData;
  path.exit.onData = (stream, bytes, now) => {
    atExit(stream, bytes, now);
    if (stream === id) path.exit.session.mux.write(id, Buffer.alloc(bytes));
  };
  const atClient = path.client.onData;
  path.client.onData = (stream, bytes, now) => {
    atClient(stream, bytes, now);
    if (stream !== id) return;
    times.push(now - sentAt);
    path.at(now + 7, ask);
  };
  path.at(from, ask);
  return times;
}

describe('the first datagrams', () => {
  it('a query that follows its OPEN at once does not wait for an answer to it, on whatever path', () => {
    for (const settled of [500, 20_000])
      for (const usual of [USUAL, SLOW]) {
        const path = new DatagramPath({ ...usual, oneWayMs: 100 });
        path.run(settled);
        const flow = new Flow(path);
        path.at(settled, () => flow.send(40));
        path.run(settled + 1_000);
        expect(flow.delays[0]).toBeLessThan(100 + 400 / usual.bytesPerMs);
      }
  });

  it('a call that begins on an idle session loses nothing while the path is unknown', () => {
    const path = new DatagramPath({ ...USUAL, oneWayMs: 50 });
    path.run(500);
    const flow = new Flow(path);
    flow.every(20, 80, 500, 3_000);
    path.run(4_000);
    expect(flow.arrived.length).toBe(flow.sent);
    expect(Math.max(...flow.arrived)).toBeLessThan(100);
  });
});

/** A TCP inside datagrams, as simple as can be: slow start, and half of its window after a loss (RFC 5681). */
class InnerTransfer {
  arrivedBytes = 0;
  private window = 10;
  private threshold = Number.POSITIVE_INFINITY;
  private sent = 0;
  private acked = 0;
  private highest = 0;
  private recoverAt = 0;

  constructor(
    private readonly path: DatagramPath,
    private readonly id: number,
  ) {
    const atExit = path.exit.onEvent;
    path.exit.onEvent = (event, now) => {
      atExit(event, now);
      if (event.type !== 'datagram' || event.stream !== id) return;
      this.arrivedBytes += event.content.length;
      // The acknowledgement comes back as a small datagram.
      path.exit.session.mux.sendDatagram(id, Buffer.from(event.content.subarray(0, 4)), undefined, now);
    };
    const atClient = path.client.onEvent;
    path.client.onEvent = (event, now) => {
      atClient(event, now);
      if (event.type === 'datagram' && event.stream === id) this.handleAck(Buffer.from(event.content).readUInt32BE(0));
    };
    path.at(path.now + 1, () => this.send());
    this.watch();
  }

  private handleAck(number: number): void {
    this.acked += 1;
    const lost = number - this.highest - 1;
    this.highest = Math.max(this.highest, number);
    if (lost > 0) this.handleLoss(lost);
    else this.window += this.window < this.threshold ? 1 : 1 / this.window;
    this.send();
  }

  private handleLoss(lost: number): void {
    this.acked += lost;
    if (this.highest <= this.recoverAt) return;
    this.recoverAt = this.sent;
    this.threshold = Math.max(2, this.window / 2);
    this.window = this.threshold;
  }

  /** All that is on its way was lost: begins again, as after a retransmission timeout. */
  private watch(): void {
    const { acked } = this;
    this.path.at(this.path.now + 1_000, () => {
      if (this.acked === acked && this.sent > this.acked) {
        this.acked = this.sent;
        this.highest = this.sent;
        this.threshold = Math.max(2, this.window / 2);
        this.window = 1;
        this.send();
      }
      this.watch();
    });
  }

  private send(): void {
    while (this.sent - this.acked < this.window) {
      this.sent += 1;
      const content = Buffer.alloc(1_452);
      content.writeUInt32BE(this.sent, 0);
      this.path.client.session.mux.sendDatagram(this.id, content, undefined, this.path.now);
    }
  }
}

describe('datagrams beside others', () => {
  it('8 kB that are queued at 64 kbit/s never delay a later datagram more than 300 ms', () => {
    const path = new DatagramPath(SLOW);
    path.run(500);
    const flow = new Flow(path);
    const burst = new Set<number>();
    // A call that the path carries, before and beside the bursts.
    flow.every(40, 60, 500, 5_000);
    for (let round = 0; round < 10; round++) {
      const start = 5_000 + 2_000 * round;
      path.at(start, () => {
        for (let i = 0; i < 8; i++) burst.add(flow.send(1_000));
      });
      flow.every(40, 60, start + 1, start + 1_900);
    }
    path.run(26_000);
    const later = flow.delays.filter((delay, number) => delay !== undefined && !burst.has(number));
    expect(Math.max(...later.filter((delay) => delay !== undefined))).toBeLessThan(300);
    expect(flow.order).toEqual([...flow.order].sort((a, b) => a - b));
    expect(later.length).toBeGreaterThan(500);
  });

  it('an echo beside 15 Mbit/s of datagrams at 20 Mbit/s takes less than 70 ms, and none is lost', () => {
    const path = new DatagramPath(USUAL);
    path.run(500);
    const flow = new Flow(path);
    const times = echo(path, 1_500);
    flow.every(0.64, 1_200, 500, 8_000);
    path.run(8_500);
    expect(percentile(times, 0.99)).toBeLessThan(70);
    // The rate of the path is learnt within the first second.
    const known = flow.delays.slice(1_500);
    expect(known).not.toContain(undefined);
    expect(
      percentile(
        known.filter((delay) => delay !== undefined),
        0.99,
      ),
    ).toBeLessThan(70);
  });

  it('a flow that would fill the path twice fills it once, with a short queue, and leaves the echo in peace', () => {
    const path = new DatagramPath(USUAL);
    path.run(500);
    const flow = new Flow(path);
    const times = echo(path, 1_500);
    flow.every(0.24, 1_200, 500, 8_000);
    path.run(8_500);
    expect(percentile(times, 0.99)).toBeLessThan(70);
    expect((flow.arrived.length * 1_200) / 7_500).toBeGreaterThan(0.85 * USUAL.bytesPerMs);
    expect(Math.max(...flow.arrived)).toBeLessThan(300);
  });

  it('a flow finds the rate of a path that is short and fast within a second, from nothing', () => {
    const path = new DatagramPath({ bytesPerMs: 50_000, oneWayMs: 0.2 });
    path.run(500);
    const flow = new Flow(path);
    flow.every(0.1, 1_200, 500, 3_000);
    path.run(3_500);
    expect(flow.delays.slice(10_000)).not.toContain(undefined);
  });

  it('small datagrams that go all the time keep no large one waiting: a transfer beside them finds its rate', () => {
    const path = new DatagramPath(USUAL);
    path.run(500);
    const pings = new Flow(path);
    pings.every(20, 128, 500, 8_000);
    path.run(3_000);
    // In the same association, as of a VPN.
    const number = pings.sent;
    pings.every(1, 1_452, 3_000, 8_000);
    path.run(8_500);
    const late = pings.delays.slice(number + 1_000);
    expect(late.filter((delay) => delay === undefined).length).toBeLessThan(late.length * 0.01);
  });

  it('a transfer inside an association, which slows down by what is lost, fills most of the path', () => {
    // The last one is slow to recover on a long path, whatever carries it.
    for (const [oneWayMs, share] of [
      [2, 0.7],
      [20, 0.7],
      [100, 0.3],
    ] as const) {
      const path = new DatagramPath({ ...USUAL, oneWayMs });
      path.run(500);
      const id = path.open('udp');
      const inner = new InnerTransfer(path, id);
      path.run(3_000 + 200 * oneWayMs);
      const before = inner.arrivedBytes;
      path.run(path.now + 10_000);
      expect((inner.arrivedBytes - before) / 10_000, `${oneWayMs} ms`).toBeGreaterThan(share * USUAL.bytesPerMs);
    }
  });

  it('a call beside four uploads waits for no more than a frame of theirs', () => {
    const path = new DatagramPath(USUAL);
    path.run(500);
    const totals = Array.from({ length: 4 }, () => upload(path));
    path.run(3_000);
    const flow = new Flow(path);
    flow.every(20, 160, 3_000, 9_000);
    path.run(9_500);
    expect(flow.arrived.length).toBe(flow.sent);
    expect(percentile(flow.arrived, 0.99)).toBeLessThan(45);
    expect(totals.reduce((sum, { bytes }) => sum + bytes, 0) / 9_000).toBeGreaterThan(0.85 * USUAL.bytesPerMs);
  });

  it('a flow without a bound has the share of one more upload, and the uploads have the rest', () => {
    const path = new DatagramPath(USUAL);
    path.run(500);
    const totals = Array.from({ length: 3 }, () => upload(path));
    path.run(2_000);
    const before = totals.reduce((sum, { bytes }) => sum + bytes, 0);
    const flow = new Flow(path);
    flow.every(0.24, 1_200, 2_000, 10_000);
    path.run(10_000);
    const uploads = totals.reduce((sum, { bytes }) => sum + bytes, 0) - before;
    const share = (flow.arrived.length * 1_200) / (flow.arrived.length * 1_200 + uploads);
    expect(share).toBeGreaterThan(0.2);
    expect(share).toBeLessThan(0.35);
  });
});
