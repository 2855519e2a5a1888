import { describe, expect, it } from 'vitest';
import type { LoggedFrame } from '../support/mux/frame-log.ts';
import { inside, kept, NOTHING } from '../support/mux/mux-internals.ts';
import { MuxPeer, TARGET } from '../support/mux/mux-peer.ts';
import { wire } from '../support/mux/wire.ts';

const KIB = 1024;

function dataStreams(frames: readonly LoggedFrame[]): unknown[] {
  return frames.filter(([type]) => type === 'data').map(([, stream]) => stream);
}

function sizesOf(peer: MuxPeer, maxBytes?: number): number[] {
  const sizes: number[] = [];
  for (let record = peer.record(maxBytes); record; record = peer.record(maxBytes)) sizes.push(record.length);
  return sizes;
}

describe('Records of a session', () => {
  it('the first record begins with HELLO, which says how many streams may be open', () => {
    const peer = new MuxPeer('exit', { maxStreams: 7 });
    expect(peer.frames()[0]).toEqual(['hello', 1, 7, 15]);
  });

  it('a record holds many small frames of many streams', () => {
    const peer = MuxPeer.joined('exit');
    const ids = Array.from({ length: 200 }, (_, index) => peer.accepted(2 * index + 1));
    for (const id of ids) peer.session.write(id, Buffer.from(`answer ${id}`));
    const records = peer.records();
    expect(records.length).toBe(1);
    expect(dataStreams(records[0]!)).toEqual(ids);
  });

  it('with several links little data shares no record, neither with credit nor with other streams; ends share one', () => {
    const peer = MuxPeer.joined('exit');
    const [credited = 0, ...ids] = Array.from({ length: 5 }, (_, index) => peer.accepted(2 * index + 1));
    peer.records();
    peer.session.trackTopics(true);
    for (let i = 0; i < 4; i++) peer.feed(wire.data(credited, Buffer.alloc(48 * KIB)));
    peer.session.consume(credited, 4 * 48 * KIB, 0);
    const [little = 0, other = 0, ...ended] = ids;
    for (const id of [little, other]) peer.session.write(id, Buffer.from('line'));
    for (const id of ended) peer.session.finish(id);
    const framesOf = (frames: readonly LoggedFrame[]) => frames.filter(([type]) => type !== 'payload');
    const names = peer.records().map((record) => framesOf(record).map(([type, stream]) => `${type} ${stream}`));
    expect(names).toEqual([['credit 1'], ['data 3'], ['data 5'], ['finish 7', 'finish 9']]);
  });

  it('a record is as large as allowed and no larger', () => {
    const peer = MuxPeer.joined('exit');
    peer.session.write(peer.accepted(1, 2 ** 20), Buffer.alloc(300_000));
    expect(Math.max(...sizesOf(peer, 1000))).toBe(1000);
    const peer2 = MuxPeer.joined('exit', { maxDataBytes: 65_511 });
    peer2.session.write(peer2.accepted(1, 2 ** 20), Buffer.alloc(300_000));
    peer2.record(512);
    expect(Math.max(...sizesOf(peer2))).toBe(65_519);
  });

  /** At the other end, each frame is a write of its own. */
  it.each([1, 8])(
    'each record holds one frame while %i streams have bulk, however the first one was cut',
    (streams) => {
      for (const cut of [512, 12_000, 20_000, 40_000, 49_151]) {
        const peer = MuxPeer.joined('exit');
        const ids = Array.from({ length: streams }, (_, index) => peer.accepted(2 * index + 1, 2 ** 30));
        peer.frames();
        for (const id of ids) for (let i = 0; i < 8; i++) peer.session.write(id, Buffer.alloc(256 * KIB));
        peer.record(cut);
        const frames = Array.from({ length: 40 }, () => dataStreams(peer.framesOf(peer.record(49_160)!)).length);
        expect(frames.filter((count) => count > 1).length, `after a cut at ${cut}`).toBeLessThanOrEqual(1);
      }
    },
  );

  it('a record has control frames before all data', () => {
    const peer = MuxPeer.joined('exit');
    const bulk = [1, 3, 5].map((id) => peer.accepted(id, 2 ** 20));
    peer.frames();
    for (const id of bulk) peer.session.write(id, Buffer.alloc(200 * KIB));
    peer.record();
    peer.feed(wire.open(7), wire.open(9), wire.ping());
    peer.session.accept(7, peer.now);
    peer.session.refuse(9, 'dial-refused');
    peer.session.reset(3, 'quota-used', peer.now);
    const [record] = peer.records();
    expect(record!.map(([type]) => type).slice(0, 4)).toEqual(['opened', 'open-failed', 'reset', 'pong']);
    expect(dataStreams(record!)).not.toContain(3);
  });

  it.each([512, 514, 516, 518, 520, 522, 524])(
    'a record of %i bytes has no data while control frames wait for the next',
    (maxBytes) => {
      const peer = MuxPeer.joined('exit');
      peer.session.write(peer.accepted(1), Buffer.alloc(10 * KIB));
      for (let id = 3; id < 203; id += 2) peer.accepted(id);
      const frames = peer.records(maxBytes).flat();
      const types = frames.map(([type]) => type);
      expect(types.lastIndexOf('opened')).toBeLessThan(types.indexOf('data'));
    },
  );
});

describe('Streams that have something to send', () => {
  it.each([1000, 8000, 16_384, 65_511])(
    'a small stream waits for at most one frame of each other, with DATA of %i bytes',
    (maxDataBytes) => {
      for (let after = 0; after < 40; after++) {
        const peer = MuxPeer.joined('exit', { maxDataBytes });
        const bulk = Array.from({ length: 8 }, (_, index) => peer.accepted(2 * index + 1, 2 ** 30));
        const small = peer.accepted(101);
        peer.frames();
        for (const id of bulk) peer.session.write(id, Buffer.alloc(400 * KIB));
        for (let i = 0; i < after; i++) peer.record(17_000);
        peer.session.write(small, Buffer.from('keystroke'));
        const order = dataStreams(peer.frames());
        const before = order.slice(0, order.indexOf(small));
        expect(new Set(before).size, `after ${after} records`).toBe(before.length);
      }
    },
  );

  it('streams take turns as long as all have something to send', () => {
    const peer = MuxPeer.joined('exit', { maxDataBytes: 1000 });
    const ids = [1, 3, 5].map((id) => peer.accepted(id));
    peer.frames();
    for (const id of ids) peer.session.write(id, Buffer.alloc(10_000));
    expect(dataStreams(peer.frames())).toEqual(Array.from({ length: 10 }, () => ids).flat());
  });

  it('a stream without credit stops, and the others continue', () => {
    const peer = MuxPeer.joined('exit');
    peer.accepted(1, 1000);
    peer.accepted(3, 5000);
    for (const id of [1, 3]) peer.session.write(id, Buffer.alloc(4000));
    const sent = (): LoggedFrame[] => peer.frames().filter(([type]) => type === 'data');
    expect(sent()).toEqual([
      ['data', 1, 1000],
      ['data', 3, 4000],
    ]);
    expect(peer.session.isIdle).toBe(false);
    peer.feed(wire.credit(1, 2999));
    expect(sent()).toEqual([['data', 1, 2999]]);
    peer.feed(wire.credit(1, 0x7fff_ffff));
    expect(sent()).toEqual([['data', 1, 1]]);
  });

  it('a stream reports once that FINISH was sent, however many turns one record had for it', () => {
    const peer = MuxPeer.joined('exit', { maxDataBytes: 1000 });
    peer.accepted(1, 100_000);
    peer.session.write(1, Buffer.alloc(3500));
    peer.session.finish(1);
    peer.session.finish(1);
    expect(peer.session.write(1, Buffer.from('too late'))).toBe(true);
    expect(peer.frames().slice(-2)).toEqual([
      ['payload', '00'.repeat(500)],
      ['finish', 1],
    ]);
    expect(peer.eventsOf(1)).toEqual(['offer', 'finish-sent']);
  });

  it('a stream reports once that it is writable, at half of its queue', () => {
    const peer = MuxPeer.joined('exit', { maxSendQueueBytes: 64 * KIB });
    peer.accepted(1, 0);
    expect(peer.session.write(1, Buffer.alloc(60 * KIB))).toBe(true);
    expect(peer.session.write(1, Buffer.alloc(4 * KIB))).toBe(false);
    peer.frames();
    for (const [credit, told] of [
      [31, 0],
      [1, 1],
      [10, 1],
    ] as const) {
      peer.feed(wire.credit(1, credit * KIB));
      peer.frames();
      expect(peer.eventsOf(1).filter((type) => type === 'writable').length).toBe(told);
    }
  });

  it('streams share the send budget equally above a minimum', () => {
    const peer = MuxPeer.joined('exit', {
      sendBudgetBytes: 64 * KIB,
      minSendQueueBytes: 2 * KIB,
      maxSendQueueBytes: 32 * KIB,
    });
    const roomFor = (streams: number): number => {
      for (let id = 1; id < 2 * streams; id += 2) if (!inside(peer.session).streams.live.has(id)) peer.accepted(id, 0);
      let room = 1;
      while (peer.session.write(2 * streams - 1, Buffer.alloc(KIB))) room += 1;
      return room;
    };
    expect([roomFor(1), roomFor(4), roomFor(100)]).toEqual([32, 16, 2]);
  });
});

describe('Small writes after others', () => {
  it('small writes are joined, and their bytes are unchanged', () => {
    const peer = MuxPeer.joined('exit');
    peer.accepted(1, 0);
    const expected: Buffer[] = [];
    for (let i = 0; i < 3000; i++) {
      const bytes = Buffer.alloc(1 + ((i * 7) % (i % 100 === 0 ? 3000 : 5)), i);
      expected.push(bytes);
      peer.session.write(1, bytes);
      if (i % 500 === 0) {
        peer.feed(wire.credit(1, 777));
        peer.frames();
      }
    }
    const queue = inside(peer.session).streams.live.get(1)!.queue as unknown as { chunks: Buffer[]; bytes: number };
    const memory = new Set(queue.chunks.map(({ buffer }) => buffer));
    expect(memory.size).toBeLessThan(100);
    expect(queue.chunks.length).toBeLessThan(100);
    const sent = peer.events.length;
    peer.feed(wire.credit(1, 1_000_000));
    const payloads = peer.frames().filter(([type]) => type === 'payload');
    const rest = payloads.map(([, hex]) => hex).join('');
    const all = Buffer.concat(expected).toString('hex');
    expect(all.endsWith(rest)).toBe(true);
    expect(rest.length).toBe(2 * (Buffer.concat(expected).length - 6 * 777));
    expect(sent).toBeLessThanOrEqual(peer.events.length);
  });
});

describe('Opening a stream', () => {
  it('at most 64 streams are opened before HELLO says how many', () => {
    const peer = new MuxPeer('client');
    const refusals = (): unknown[] =>
      Array.from({ length: 2000 }, () => peer.session.open(TARGET, 0)).filter((answer) => 'refused' in answer);
    expect(refusals().length).toBe(2000 - 64);
    peer.feed(wire.hello(100));
    expect(refusals().length).toBe(2000 - 36);
    expect(refusals()[0]).toEqual({ refused: 'dial-busy' });
  });

  it('our own limit of streams holds, whatever the peer allows', () => {
    const peer = new MuxPeer('client', { maxStreams: 70 });
    peer.feed(wire.hello(0xffff_ffff));
    for (let i = 0; i < 70; i++) expect(peer.session.open(TARGET, 0)).toHaveProperty('stream');
    expect(peer.session.open(TARGET, 0)).toEqual({ refused: 'dial-busy' });
  });

  it('ids of streams are odd for the client and even for the exit, and increase', () => {
    const ids = (role: 'client' | 'exit'): unknown[] => {
      const peer = MuxPeer.joined(role);
      return [1, 2, 3].map(() => peer.session.open(TARGET, 0));
    };
    expect(ids('client')).toEqual([{ stream: 1 }, { stream: 3 }, { stream: 5 }]);
    expect(ids('exit')).toEqual([{ stream: 2 }, { stream: 4 }, { stream: 6 }]);
  });

  it('no stream is opened when no id is left', () => {
    const peer = MuxPeer.joined('client');
    inside(peer.session).streams.lastLocalId = 2 ** 31 - 3;
    expect(peer.opened()).toBe(2 ** 31 - 1);
    expect(peer.session.open(TARGET, 0)).toEqual({ refused: 'out-of-ids' });
    expect(peer.session.open(TARGET, 0)).toEqual({ refused: 'out-of-ids' });
    const exit = MuxPeer.joined('exit');
    exit.accepted(2 ** 31 - 1);
    expect(exit.ended).toBeUndefined();
  });

  it('a target that cannot be encoded is refused', () => {
    const peer = MuxPeer.joined('client');
    expect(peer.session.open({ kind: 'name', name: '', port: 1 }, 0)).toEqual({ refused: 'dial-bad-target' });
    expect(kept(peer.session)).toEqual(NOTHING);
  });

  it('an open that is reset before it was sent leaves no trace', () => {
    const peer = MuxPeer.joined('client');
    for (let i = 0; i < 10_000; i++) {
      const opened = peer.session.open(TARGET, 0);
      peer.session.reset('stream' in opened ? opened.stream : 0, 'dial-cancelled', 0);
    }
    expect(peer.frames()).toEqual([]);
    expect(kept(peer.session)).toEqual(NOTHING);
    expect(peer.ended).toBeUndefined();
  });
});

describe('The slot of a stream', () => {
  it('the slot of an offered stream is free only when its owner has released it', () => {
    const peer = MuxPeer.joined('exit', { maxStreams: 2 });
    peer.accepted(1);
    peer.feed(wire.open(3));
    peer.feed(wire.reset(1), wire.reset(3), wire.open(5));
    expect(peer.frames()).toContainEqual(['open-failed', 5, 40]);
    peer.session.release(1);
    peer.feed(wire.open(7), wire.open(9));
    expect(peer.eventsOf(7)).toEqual(['offer']);
    expect(peer.frames()).toContainEqual(['open-failed', 9, 40]);
  });

  it('a slot that is released early is free only when its stream has ended', () => {
    const peer = MuxPeer.joined('exit', { maxStreams: 1 });
    peer.accepted(1, 0);
    peer.session.write(1, Buffer.alloc(5));
    peer.session.finish(1);
    peer.session.release(1);
    peer.feed(wire.finish(1), wire.open(3));
    expect(peer.frames()).toContainEqual(['open-failed', 3, 40]);
    peer.feed(wire.credit(1, 4096));
    peer.frames();
    peer.feed(wire.open(5));
    expect(peer.eventsOf(5)).toEqual(['offer']);
  });

  it('unconsumed data keeps the slot of an offered stream and its memory', () => {
    const peer = MuxPeer.joined('exit', { maxStreams: 1 });
    peer.accepted(1);
    peer.feed(wire.data(1, Buffer.alloc(5000)), wire.finish(1));
    peer.session.finish(1);
    peer.session.release(1);
    peer.frames();
    expect(kept(peer.session)).toEqual({ ...NOTHING, unread: 1, unreleased: 1, committed: 5000 });
    peer.feed(wire.open(3));
    expect(peer.frames()).toContainEqual(['open-failed', 3, 40]);
    peer.session.consume(1, 4999, 0);
    expect(kept(peer.session).committed).toBe(1);
    peer.session.consume(1, 1, 0);
    expect(kept(peer.session)).toEqual(NOTHING);
  });

  it('unconsumed data keeps the slot of our own stream, too, and a reset frees it', () => {
    const peer = new MuxPeer('client');
    peer.feed(wire.hello(1));
    const id = peer.opened();
    peer.feed(wire.data(id, Buffer.alloc(10)), wire.finish(id));
    peer.session.finish(id);
    peer.frames();
    expect(peer.session.open(TARGET, 0)).toEqual({ refused: 'dial-busy' });
    peer.session.reset(id, 'dial-cancelled', peer.now);
    expect(peer.frames()).toEqual([]);
    expect(kept(peer.session)).toEqual(NOTHING);
    expect(peer.session.open(TARGET, 0)).toHaveProperty('stream');
  });
});

describe('Received bytes', () => {
  it('a few received bytes do not keep a large read alive', () => {
    const peer = MuxPeer.joined('exit');
    peer.accepted(1);
    peer.accepted(3);
    const record = Buffer.concat([wire.data(1, Buffer.from('x')), wire.data(3, Buffer.alloc(60_000))]);
    peer.feed(record);
    const data = peer.events.filter((event) => event.type === 'data');
    expect(data.map(({ bytes }) => [bytes.length, bytes.buffer.byteLength])).toEqual([
      [1, 1],
      [60_000, record.length],
    ]);
  });
});
