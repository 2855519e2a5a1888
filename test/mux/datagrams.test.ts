/** Datagrams of a session: which are sent, dropped, refused and received. The test is the peer. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Codel } from '../../src/mux/codel.ts';
import { DatagramQueue } from '../../src/mux/datagram-queue.ts';
import { FEATURE_DATAGRAMS, FEATURE_LINKS, FEATURE_MAY_WAIT, FEATURE_SERVICES } from '../../src/protocol/frames.ts';
import type { Service } from '../../src/protocol/services.ts';
import { MuxPeer, TARGET } from '../support/mux/mux-peer.ts';
import { OneLinkSession } from '../support/mux/one-link-session.ts';
import { frame, wire } from '../support/mux/wire.ts';
import { ipTarget } from '../support/net/targets.ts';

const ALL = FEATURE_DATAGRAMS | FEATURE_SERVICES;
const PLACE = ipTarget('192.0.2.1', 53);
const ANYWHERE = { kind: 'ip', ip: new Uint8Array(4), port: 0 } as const;
const ROOM = {
  maxBytes: 1_000,
  mayExceed: true,
  frameBytes: 1_000,
  rate: { leastPerMs: 0, steadyPerMs: undefined },
};

function joined(role: 'client' | 'exit', features = ALL): MuxPeer {
  const peer = new MuxPeer(role);
  peer.feed(wire.hello(1024, 1, features));
  peer.frames();
  peer.events.length = 0;
  return peer;
}

/** OPEN as a client writes it. */
function open(stream: number, service: number, kind = 1, port = 0, host = '00000000'): Buffer {
  const head = Buffer.from([0, 0, 0, 0, service, kind, port >> 8, port & 0xff]);
  return frame(1, stream, Buffer.concat([head, Buffer.from(host, 'hex')]));
}

/** The records of datagrams to come, as hex. */
function datagrams(peer: MuxPeer, room = ROOM): string[] {
  const records: string[] = [];
  const poll = () => peer.session.pollDatagrams(peer.now, room, true);
  for (let record = poll(); record !== undefined; record = poll()) records.push(Buffer.concat(record).toString('hex'));
  return records;
}

function associated(target: typeof PLACE | typeof ANYWHERE = PLACE): { peer: MuxPeer; id: number } {
  const peer = joined('client');
  const opened = peer.session.open(target, 0, { service: 'udp' });
  if (!('stream' in opened)) throw new Error('not opened');
  peer.frames();
  peer.feed(wire.opened(opened.stream, 0));
  return { peer, id: opened.stream };
}

describe('an association', () => {
  it('is only asked of a peer that has offered it', () => {
    const needs: [Service, number][] = [
      ['udp', FEATURE_DATAGRAMS],
      ['udp-listener', ALL],
      ['resolver', FEATURE_SERVICES],
      ['tcp-listener', FEATURE_SERVICES],
    ];
    for (const [service, needed] of needs)
      for (const features of [0, FEATURE_DATAGRAMS, FEATURE_SERVICES, ALL]) {
        const opened = joined('client', features).session.open(PLACE, 0, { service });
        const knows = (features & needed) === needed;
        expect(opened).toEqual(knows ? { stream: 1 } : { refused: 'service-unknown' });
      }
  });

  it('is known to be out of reach when HELLO has come without it, and not before', () => {
    expect(new MuxPeer('client').session.lacks('udp')).toBe(false);
    expect(joined('client', 0).session.lacks('udp')).toBe(true);
    expect(joined('client').session.lacks('udp')).toBe(false);
  });

  it('sends nothing before its OPEN has gone, and needs no answer then', () => {
    const peer = joined('client');
    peer.session.open(PLACE, 0, { service: 'udp' });
    peer.session.sendDatagram(1, Buffer.from('ping'), undefined, 0);
    expect(datagrams(peer)).toEqual([]);
    expect(peer.frames()).toMatchObject([['open', 1, 0, { service: 'udp', target: PLACE }]]);
    expect(datagrams(peer)).toEqual(['820000040000000170696e67']);
  });

  it('waits for the answer where another link could overtake its OPEN', () => {
    const peer = joined('client');
    peer.session.trackTopics(true);
    peer.session.open(PLACE, 0, { service: 'udp' });
    peer.session.sendDatagram(1, Buffer.from('ping'), undefined, 0);
    peer.frames();
    expect(datagrams(peer)).toEqual([]);
    peer.feed(wire.opened(1, 0));
    expect(datagrams(peer)).toEqual(['820000040000000170696e67']);
  });

  it('has no credit, so that DATA for it ends the session', () => {
    const { peer, id } = associated();
    peer.feed(wire.data(id, Buffer.from('x')));
    expect(peer.ended).toBe('window-exceeded');
  });

  it('drops a datagram without an address that it needs, with one that it must not have, and one that is too long', () => {
    const plain = associated();
    plain.peer.session.sendDatagram(plain.id, Buffer.from('x'), PLACE, 0);
    plain.peer.session.sendDatagram(plain.id, Buffer.alloc(65_501), undefined, 0);
    plain.peer.session.sendDatagram(99, Buffer.from('x'), undefined, 0);
    expect(datagrams(plain.peer)).toEqual([]);
    const open = associated(ANYWHERE);
    open.peer.session.sendDatagram(open.id, Buffer.from('x'), undefined, 0);
    open.peer.session.sendDatagram(open.id, Buffer.from('x'), { kind: 'name', name: '', port: 1 }, 0);
    open.peer.session.sendDatagram(open.id, Buffer.alloc(65_494), PLACE, 0);
    expect(datagrams(open.peer)).toEqual([]);
    open.peer.session.sendDatagram(open.id, Buffer.alloc(65_493), PLACE, 0);
    expect(datagrams(open.peer)).toHaveLength(1);
  });

  it('puts several datagrams into a record, and begins the next one when it is full', () => {
    const { peer, id } = associated();
    for (let i = 0; i < 5; i++) peer.session.sendDatagram(id, Buffer.alloc(400, i), undefined, 0);
    expect(datagrams(peer).map((record) => record.length / 2)).toEqual([816, 816, 408]);
    peer.session.sendDatagram(id, Buffer.alloc(1_400), undefined, 0);
    expect(datagrams(peer, { ...ROOM, mayExceed: false })).toEqual([]);
    expect(datagrams(peer).map((record) => record.length / 2)).toEqual([1_408]);
  });

  it('sends FINISH when its last datagram has gone', () => {
    const { peer, id } = associated();
    peer.session.sendDatagram(id, Buffer.from('last'), undefined, 0);
    peer.session.finish(id);
    peer.session.sendDatagram(id, Buffer.from('more'), undefined, 0);
    expect(peer.frames()).toEqual([]);
    expect(datagrams(peer)).toHaveLength(1);
    expect(peer.frames()).toEqual([['finish', id]]);
  });

  it('of an exit hands on what came before it was accepted, and nothing after it has ended', () => {
    const peer = joined('exit');
    peer.feed(open(1, 2, 1, 53, 'c0000201'));
    const datagram = frame(0x82, 1, Buffer.from('ping'));
    peer.session.handleDatagrams(datagram, 0);
    expect(peer.takeEvents().map(({ type }) => type)).toEqual(['offer', 'datagram']);
    peer.session.accept(1, 0);
    peer.feed(wire.finish(1));
    peer.session.handleDatagrams(datagram, 0);
    expect(peer.takeEvents().map(({ type }) => type)).toEqual(['offer', 'datagram', 'finish']);
    expect(peer.ended).toBeUndefined();
  });

  it('takes no datagram of another kind of stream, of none, or with an address that cannot be read', () => {
    const peer = joined('exit');
    peer.accepted(1);
    peer.feed(open(3, 2));
    peer.session.accept(3, 0);
    peer.events.length = 0;
    for (const bytes of [
      frame(0x82, 1, Buffer.from('x')),
      frame(0x82, 9),
      frame(0x82, 3),
      frame(0x82, 3, Buffer.from('?')),
    ])
      peer.session.handleDatagrams(bytes, 0);
    expect(peer.takeEvents()).toEqual([]);
    peer.session.handleDatagrams(frame(0x82, 3, Buffer.from('010035c0000201', 'hex')), 0);
    expect(peer.takeEvents()).toEqual([{ type: 'datagram', stream: 3, address: PLACE, content: Buffer.alloc(0) }]);
  });

  it('a record with a cut datagram, or with another frame, ends the session', () => {
    for (const record of [frame(0x82, 1, Buffer.from('x')).subarray(0, 8), wire.ping()]) {
      const peer = joined('exit');
      peer.session.handleDatagrams(record, 0);
      peer.takeEvents();
      expect(peer.ended).toBe('bad-record');
    }
  });
});

describe('an exit', () => {
  it('gives no client a service whose frames that has not offered to understand', () => {
    const needs: [number, number][] = [
      [1, 0],
      [2, FEATURE_DATAGRAMS],
      [3, 0],
      [4, FEATURE_SERVICES],
      [5, FEATURE_DATAGRAMS],
    ];
    for (const [service, needed] of needs)
      for (const features of [0, FEATURE_DATAGRAMS, FEATURE_SERVICES, ALL]) {
        const peer = joined('exit', features);
        peer.feed(open(1, service, 1, 53, '7f000001'));
        const serves = (features & needed) === needed;
        expect(peer.frames()).toEqual(serves ? [] : [['open-failed', 1, 39]]);
        expect(peer.events.map(({ type }) => type)).toEqual(serves ? ['offer'] : []);
      }
  });

  it('has a connection of a listener follow what it said of the listener, by whatever link', () => {
    const peer = joined('exit');
    peer.feed(open(1, 4));
    peer.session.trackTopics(true);
    peer.session.accept(1, 0, PLACE);
    peer.frames();
    peer.session.open(TARGET, 0, { service: 'accepted', listener: 1 });
    peer.session.pollRecord(0);
    expect(peer.session.topics).toContain(1);
  });
});

describe('a client', () => {
  it('takes a connection only of a listener of its own that is open', () => {
    const peer = joined('client');
    const accepted = (stream: number, listener: number) =>
      frame(1, stream, Buffer.from(`000010000601c000${listener.toString(16).padStart(8, '0')}c0000207`, 'hex'));
    peer.session.open(ANYWHERE, 0, { service: 'tcp-listener' });
    peer.session.open(TARGET, 0);
    peer.frames();
    peer.feed(accepted(2, 1), wire.opened(1, 0), accepted(4, 1), accepted(6, 3), accepted(8, 99));
    expect(peer.frames()).toEqual([
      ['open-failed', 2, 43],
      ['open-failed', 6, 43],
      ['open-failed', 8, 43],
    ]);
    const offers = peer.events.filter(({ type }) => type === 'offer');
    expect(offers).toMatchObject([{ stream: 4, request: { service: 'accepted', listener: 1 } }]);
  });

  it('refuses every other stream of the exit, and an exit refuses a connection that it should have accepted', () => {
    const peer = joined('client');
    peer.feed(open(2, 1, 1, 80, 'c0000201'), open(4, 2), open(6, 3), open(8, 4), open(10, 5));
    expect(peer.frames().map((frame) => frame.slice(0, 3))).toEqual(
      [2, 4, 6, 8, 10].map((stream) => ['open-failed', stream, 35]),
    );
    const exit = joined('exit');
    exit.feed(frame(1, 1, Buffer.from('000010000601c00000000001c0000207', 'hex')));
    expect(exit.frames()).toEqual([['open-failed', 1, 39]]);
  });
});

describe('a peer of the first versions', () => {
  /** All that an end sends to it, as hex: flags and frames, after HELLO. */
  function recordsTo(end: OneLinkSession): string[] {
    const records: string[] = [];
    for (let now = 10; now < 1_000; now += 10) {
      for (let next = end.pollMessage(now); next; next = end.pollMessage(now))
        records.push(Buffer.concat(next).toString('hex'));
    }
    return records;
  }

  function greetedBy(role: 'client' | 'exit', ...frames: Buffer[]): OneLinkSession {
    const end = OneLinkSession.of({ role });
    end.attach(0, 0, 0);
    while (end.pollMessage(0) !== undefined);
    const features = FEATURE_MAY_WAIT | FEATURE_LINKS;
    end.receive([Buffer.concat([Uint8Array.of(0), wire.hello(1024, 1, features), ...frames])], 0);
    while (end.mux.pollEvent() !== undefined);
    return end;
  }

  it('is sent nothing of services and datagrams by a client, which is told so at once', () => {
    const client = greetedBy('client');
    for (const service of ['udp', 'udp-listener', 'resolver', 'tcp-listener'] as const)
      expect(client.mux.open(PLACE, 0, { service })).toEqual({ refused: 'service-unknown' });
    client.mux.sendDatagram(1, Buffer.from('ping'), undefined, 0);
    expect(client.mux.open(PLACE, 0)).toEqual({ stream: 1 });
    client.mux.sendDatagram(1, Buffer.from('ping'), undefined, 0);
    const records = recordsTo(client);
    expect(records.filter((record) => record.includes('0100000c00000001'))).toHaveLength(1);
    expect(records.join()).not.toContain('82000');
  });

  it('is sent nothing of them by an exit, whatever it asks for', () => {
    const exit = greetedBy('exit', open(1, 2), open(3, 2, 1, 53, '7f000001'), open(5, 4), open(7, 5));
    for (const id of [1, 3, 5, 7]) {
      expect(exit.mux.accept(id, 0)).toBe(false);
      exit.mux.sendDatagram(id, Buffer.from('ping'), id === 3 ? undefined : PLACE, 0);
    }
    expect(exit.mux.open(PLACE, 0, { service: 'accepted', listener: 5 })).toEqual({ refused: 'service-unknown' });
    const [refusals, ...rest] = recordsTo(exit);
    expect(refusals).toContain([1, 3, 5, 7].map((id) => `030000020000000${id}0027`).join(''));
    expect(rest.join()).not.toContain('82000');
    expect(exit.mux.isOver).toBe(false);
  });
});

describe('a queue of datagrams', () => {
  const push = (queue: DatagramQueue, bytes: number, at: number) =>
    queue.push({ address: undefined, content: Buffer.alloc(bytes), at });
  const lengths = (queue: DatagramQueue) => {
    const all: number[] = [];
    for (let next = queue.next; next !== undefined; next = queue.next) {
      all.push(next.content.length);
      queue.take();
    }
    return all;
  };
  const unknown = { leastPerMs: 0, steadyPerMs: undefined };

  it('drops what has waited for more than 250 ms, the oldest first', () => {
    const queue = new DatagramQueue(1);
    push(queue, 1, 0);
    push(queue, 2, 100);
    push(queue, 3, 251);
    queue.trim(250, unknown);
    expect(queue.next?.content.length).toBe(1);
    queue.trim(251, unknown);
    expect(lengths(queue)).toEqual([2, 3]);
    expect(queue.bytes).toBe(0);
  });

  it('holds 256 KiB, and always the newest datagram', () => {
    const queue = new DatagramQueue(1);
    for (let i = 0; i < 10; i++) push(queue, 65_000 + i, 0);
    expect(lengths(queue)).toEqual([65_006, 65_007, 65_008, 65_009]);
    for (let i = 0; i < 10_000; i++) push(queue, 0, 0);
    expect(queue.bytes).toBeLessThanOrEqual(256 * 1024);
  });

  it('holds 8 MiB of all associations of a session, and the newest datagram of each', () => {
    const all = { bytes: 0 };
    const queues = Array.from({ length: 100 }, (_, index) => new DatagramQueue(index, all));
    for (let i = 0; i < 200; i++) for (const queue of queues) push(queue, 1_400, 0);
    expect(all.bytes).toBeLessThanOrEqual(8 * 1024 * 1024);
    expect(queues.reduce((sum, { bytes }) => sum + bytes, 0)).toBeGreaterThan(4 * 1024 * 1024);
    const late = new DatagramQueue(101, all);
    push(late, 1_000, 0);
    expect(lengths(late)).toEqual([1_000]);
    for (const queue of queues) queue.clear();
    expect(all.bytes).toBe(0);
  });

  it('drops so many of the oldest that the rest is delivered in time, once the rate of the path is known', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(1_400), fc.nat(40)), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 1, max: 3_000 }),
        (datagrams, rate) => {
          const queue = new DatagramQueue(1);
          let now = 0;
          for (const [bytes, pauseMs] of datagrams) {
            now += pauseMs;
            push(queue, bytes, now);
          }
          queue.trim(now, { leastPerMs: rate, steadyPerMs: rate });
          let before = 0;
          let isFirst = true;
          for (let next = queue.next; next !== undefined; next = queue.next) {
            before += next.content.length + 64;
            queue.take();
            // A single one may be more than the path carries in time.
            if (!isFirst || !queue.isEmpty)
              expect(now - next.at + before / rate).toBeLessThanOrEqual(250 + 1_464 / rate);
            isFirst = false;
          }
        },
      ),
    );
  });

  it('that never becomes short drops more and more often, as RFC 8289 has it', () => {
    const codel = new Codel();
    const drops: number[] = [];
    for (let now = 0; now < 1_000; now++) if (codel.mustDrop(50, 10_000, 1_000, now)) drops.push(now);
    expect(drops.slice(0, 4)).toEqual([100, 200, 271, 329]);
    expect(codel.mustDrop(5, 10_000, 1_000, 1_000)).toBe(false);
    expect(codel.mustDrop(50, 1_000, 1_000, 1_001)).toBe(false);
    for (let now = 1_002; now < 1_102; now++) expect(codel.mustDrop(50, 10_000, 1_000, now)).toBe(false);
    expect(codel.mustDrop(50, 10_000, 1_000, 1_102)).toBe(true);
    const onSlowPath = new Codel();
    for (let now = 0; now < 1_000; now++) expect(onSlowPath.mustDrop(50, 10_000, 80, now)).toBe(false);
  });
});
