/**
 * A download on a link that freezes, in virtual time: the exit has bytes on their way and cannot dial, the client has
 * none, and must find out. And what looks like it and is none: a target that pauses, a program that does not read, a
 * slow path.
 */
import { describe, expect, it } from 'vitest';
import { DEFAULT_MUX_CONFIG } from '../../src/mux/config.ts';
import { decodeRecordHeader, dropPrefix } from '../../src/protocol/record-header.ts';
import { TARGET } from '../support/mux/mux-peer.ts';
import { naiveDecode } from '../support/mux/naive-decoder.ts';
import { OneLinkSession } from '../support/mux/one-link-session.ts';

const STEP_MS = 5;

interface Path {
  readonly delayMs: number;
  /** Bytes a ms, down. */
  readonly rate: number;
}

interface OnItsWay {
  readonly at: number;
  readonly message: Uint8Array;
}

/** A client and an exit with one open stream, on a path that keeps messages in order. */
class Download {
  now = 0;
  readonly client = OneLinkSession.of({ role: 'client' });
  readonly exit = OneLinkSession.of({ role: 'exit' });
  readonly pings: number[] = [];
  received = 0;
  /** When a message came to the client last. */
  heardAt = 0;
  frozen = false;
  /** Whether the target has bytes, and whether the program reads. */
  flows = true;
  reads = true;
  private readonly path: Path;
  private up: OnItsWay[] = [];
  private down: OnItsWay[] = [];
  private downFreeAt = 0;
  private isWritable = true;

  constructor(path: Path) {
    this.path = path;
    this.exit.attach(0, 0, 0);
    this.client.attach(0, 0, 0);
    this.client.mux.open(TARGET, 0);
    this.run(20 * path.delayMs + 100);
    this.pings.length = 0;
  }

  /** Until the link is suspected, or so long; how long that was, ms. */
  run(ms: number): number {
    const since = this.now;
    while (this.now < since + ms && this.client.linkState(this.now) === 'fine') this.step();
    return this.now - since;
  }

  private step(): void {
    this.now += STEP_MS;
    if (this.flows && this.isWritable) this.isWritable = this.exit.mux.write(1, Buffer.alloc(16 * 1024));
    this.deliver();
    for (const end of [this.client, this.exit]) end.handleTimeout(this.now);
    this.takeEvents();
    this.send();
  }

  private deliver(): void {
    const arrived = (line: OnItsWay[]): OnItsWay[] => line.splice(0, line.filter(({ at }) => at <= this.now).length);
    for (const { message } of arrived(this.up)) this.exit.receive([message], this.now);
    for (const { message } of arrived(this.down)) {
      this.heardAt = this.now;
      this.client.receive([message], this.now);
    }
  }

  private takeEvents(): void {
    for (let event = this.exit.mux.pollEvent(); event; event = this.exit.mux.pollEvent()) {
      if (event.type === 'offer') this.exit.mux.accept(event.stream, this.now);
      if (event.type === 'writable') this.isWritable = true;
    }
    for (let event = this.client.mux.pollEvent(); event; event = this.client.mux.pollEvent()) {
      if (event.type !== 'data') continue;
      this.received += event.bytes.length;
      if (this.reads) this.client.mux.consume(event.stream, event.bytes.length, this.now);
    }
  }

  private send(): void {
    const { delayMs, rate } = this.path;
    for (let message = this.client.pollMessage(this.now); message; message = this.client.pollMessage(this.now)) {
      this.notePings(message);
      if (!this.frozen) this.up.push({ at: this.now + delayMs, message: Buffer.concat(message) });
    }
    for (let message = this.exit.pollMessage(this.now); message; message = this.exit.pollMessage(this.now)) {
      const bytes = Buffer.concat(message);
      this.downFreeAt = Math.max(this.downFreeAt, this.now) + bytes.length / rate;
      if (!this.frozen) this.down.push({ at: this.downFreeAt + delayMs, message: bytes });
    }
  }

  private notePings(message: readonly Uint8Array[]): void {
    const decoded = decodeRecordHeader(message);
    if (decoded === undefined) throw new Error('every record has a header');
    const { frames } = naiveDecode(Buffer.concat(dropPrefix(message, decoded.bytes)));
    if (frames.some(([type]) => type === 'ping')) this.pings.push(this.now);
  }

  freeze(): void {
    this.frozen = true;
    this.up = [];
    this.down = [];
  }
}

/** So slow that credit of the client's is on its way for an eighth of the time only. */
const FAST: Path = { delayMs: 20, rate: 200 };
const SLOW: Path = { delayMs: 400, rate: 8 };

describe('A link that freezes during a download', () => {
  it.each([0, 1_000, 2_500, 7_000, 14_000])(
    'a link that freezes %i ms into a download is suspect 3 s after the last byte',
    (runs) => {
      const download = new Download(FAST);
      download.run(runs);
      download.freeze();
      download.run(60_000);
      expect(download.client.linkState(download.now)).toBe('suspect');
      expect(download.now - download.heardAt).toBeLessThanOrEqual(3_000 + 2 * STEP_MS);
      expect(download.pings.filter((at) => at > download.heardAt).length).toBeLessThanOrEqual(1);
    },
  );

  it('a frozen link is suspect as soon if the target has not answered yet', () => {
    const download = new Download(FAST);
    download.flows = false;
    download.client.mux.write(1, Buffer.from('GET / HTTP/1.1'));
    download.run(100);
    download.freeze();
    expect(download.run(60_000)).toBeLessThanOrEqual(3_000 + 2 * STEP_MS);
  });

  it('a frozen link with long round trips is suspect after some of them, not after 3 s', () => {
    const download = new Download(SLOW);
    download.run(5_000);
    download.freeze();
    download.run(60_000);
    const silence = download.now - download.heardAt;
    expect(silence).toBeGreaterThan(4 * 2 * SLOW.delayMs);
    expect(silence).toBeLessThan(16 * 2 * SLOW.delayMs);
  });
});

describe('A link that freezes while another one is at hand', () => {
  const HURRY = { probeMs: 300, probeAnswerMs: 400, stallMs: 700 };

  function hurried(path: Path): Download {
    const download = new Download(path);
    download.client.hurry(HURRY);
    return download;
  }

  it.each([0, 1_000, 7_000])(
    'a link that freezes %i ms into a download is suspect 0.7 s after the last byte where another is at hand',
    (runs) => {
      const download = hurried(FAST);
      download.run(runs);
      download.freeze();
      download.run(60_000);
      expect(download.client.linkState(download.now)).toBe('suspect');
      expect(download.now - download.heardAt).toBeLessThanOrEqual(700 + 2 * STEP_MS);
    },
  );

  it('a link that freezes with bytes in flight is suspect 0.7 s later where another is at hand', () => {
    const download = hurried(FAST);
    download.flows = false;
    download.run(30_000);
    download.freeze();
    download.client.mux.write(1, Buffer.from('a keystroke'));
    expect(download.run(60_000)).toBeLessThanOrEqual(700 + 2 * STEP_MS);
  });

  it('a frozen link with long round trips is given four of them, whatever is at hand', () => {
    const download = hurried(SLOW);
    download.run(5_000);
    download.freeze();
    download.run(60_000);
    expect(download.now - download.heardAt).toBeGreaterThan(4 * 2 * SLOW.delayMs);
  });

  it('a slow path of 64 kbit/s and 800 ms is not suspect, whatever is at hand', () => {
    const download = hurried(SLOW);
    expect(download.run(120_000)).toBe(120_000);
  });

  it('a target that pauses costs six pings, whatever is at hand', () => {
    const download = hurried(FAST);
    download.run(2_000);
    download.flows = false;
    expect(download.run(60_000)).toBe(60_000);
    expect(download.pings.length).toBeLessThanOrEqual(6 + 60_000 / DEFAULT_MUX_CONFIG.pingIntervalMs);
  });
});

describe('A link that works', () => {
  it('no ping probes a link while a download flows', () => {
    const download = new Download(FAST);
    download.run(14_000);
    expect(download.pings).toEqual([]);
    expect(download.received).toBeGreaterThan(2_000_000);
  });

  it.each([
    ['a target that pauses', (download: Download) => (download.flows = false)],
    ['a program that does not read', (download: Download) => (download.reads = false)],
  ])('a link is not suspect because of %s, and is probed at most four times in 15 s', (_what, pause) => {
    const download = new Download(FAST);
    download.run(2_000);
    pause(download);
    expect(download.run(60_000)).toBe(60_000);
    const gaps = download.pings.slice(1).map((at, i) => at - Number(download.pings[i]));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(1_000);
    expect(download.pings.length).toBeLessThanOrEqual(4 + 60_000 / DEFAULT_MUX_CONFIG.pingIntervalMs);
  });

  it('a link is not suspect on a slow path of 64 kbit/s and 800 ms', () => {
    const download = new Download(SLOW);
    expect(download.run(120_000)).toBe(120_000);
    expect(download.received).toBeGreaterThan(500_000);
  });

  it('a link is not probed any more after the last stream has ended', () => {
    const download = new Download(FAST);
    download.run(1_000);
    download.flows = false;
    download.run(500);
    download.client.mux.reset(1, 'target-reset', download.now);
    download.run(14_000);
    expect(download.pings).toEqual([]);
  });
});
