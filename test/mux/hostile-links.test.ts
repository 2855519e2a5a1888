/** Peers that break the rules of several links (docs/protocol.md §3.1, §10.2): each one over, and nothing left behind. */
import { describe, expect, it } from 'vitest';
import type { MuxEvent } from '../../src/mux/events.ts';
import type { ResumeConfig } from '../../src/mux/links/resume-config.ts';
import { RetransmitMemory } from '../../src/mux/links/retransmit-store.ts';
import type { SessionLink } from '../../src/mux/links/session-link.ts';
import { decodeRecordHeader } from '../../src/protocol/record-header.ts';
import { OneLinkSession } from '../support/mux/one-link-session.ts';
import { wire } from '../support/mux/wire.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
/** Of HELLO: `may wait` and `links`. */
const FEATURES = 3;

function u(value: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntBE(value, 0, bytes);
  return buffer;
}

interface Odd {
  /** Beside that of a placed record. */
  readonly flags?: number;
  readonly followed?: readonly number[];
  readonly piece?: readonly [offset: number, total: number];
}

/** A placed record as docs/protocol.md §3.1 writes it. `back`: its number less its floor. */
function placed(
  number: number,
  back: number,
  frames: Uint8Array,
  { flags = 0, followed = [], piece }: Odd = {},
): Buffer {
  const others = followed.map((distance) => u(distance, 2));
  const range = piece === undefined ? [] : piece.map((value) => u(value, 2));
  const all = 0x08 | flags | (piece === undefined ? 0 : 0x20);
  return Buffer.concat([u(all, 1), u(number, 6), u(back, 2), u(followed.length, 1), ...others, ...range, frames]);
}

const plain = (...frames: readonly Uint8Array[]): Buffer => Buffer.concat([Uint8Array.of(0), ...frames]);
const acknowledging = (position: number): Buffer => Buffer.concat([u(3, 1), u(position, 6), u(0, 4)]);

/** An exit with a session on two links, whose peer is the test. */
class Exit {
  readonly session: OneLinkSession;
  readonly a: SessionLink;
  readonly b: SessionLink;
  readonly events: MuxEvent[] = [];
  /** Numbered records that went by each link. */
  readonly carried = { a: 0, b: 0 };
  now = 0;

  constructor(
    private readonly memory = new RetransmitMemory(64 * MIB),
    resume: Partial<ResumeConfig> = {},
  ) {
    this.session = OneLinkSession.of({ role: 'exit' }, resume, memory);
    const a = this.session.attach(0, 0, 0);
    if (a === undefined) throw new Error('no first link');
    this.a = a;
    this.read(a, plain(wire.hello(1024, 1, FEATURES), wire.open(1), wire.open(3)));
    for (const id of [1, 3]) this.session.mux.accept(id, 0);
    const b = this.session.join(0, 0);
    if (b === undefined) throw new Error('no second link');
    this.b = b;
    this.send();
  }

  /** False where the link is to be dropped. */
  read(link: SessionLink, ...messages: readonly Buffer[]): boolean {
    let hasRoom = true;
    for (const message of messages) hasRoom = this.session.handleMessage(link, [message], this.now) && hasRoom;
    for (let event = this.session.mux.pollEvent(); event; event = this.session.mux.pollEvent()) this.events.push(event);
    return hasRoom;
  }

  /** All that is to be sent now. */
  send(): void {
    for (let next = this.session.poll(this.now); next !== undefined; next = this.session.poll(this.now)) {
      const isNumbered = (Number(next.message[0]?.[0]) & 0x02) === 0;
      if (isNumbered) this.carried[next.link === this.a ? 'a' : 'b'] += 1;
    }
  }

  /** Bytes that came for a stream. */
  textOf(stream: number): string {
    const data = this.events.flatMap((event) =>
      event.type === 'data' && event.stream === stream ? [Buffer.from(event.bytes)] : [],
    );
    return Buffer.concat(data).toString('latin1');
  }

  get fault(): string | undefined {
    return this.events.find((event) => event.type === 'ended')?.fault;
  }

  expectEnd(fault: string): void {
    expect(this.fault).toBe(fault);
    this.session.end('internal');
    expect([this.session.retransmitBytes, this.memory.used]).toEqual([0, 0]);
  }
}

const data = (text: string, stream = 1): Buffer => wire.data(stream, Buffer.from(text, 'latin1'));

describe('A peer that breaks the rules of placed records', () => {
  // Record 1 has come, on link a.
  it.each<[string, Buffer]>([
    ['a number 32,769 above the last', placed(32_770, 32_769, data('x'))],
    ['the highest number that there is', placed(2 ** 48 - 1, 5, data('x'))],
    ['a floor that is its own number', placed(2, 0, data('x'))],
    ['a floor below 0', placed(2, 3, data('x'))],
    ['the number 0', placed(0, 1, data('x'))],
    ['another record below its floor', placed(9, 3, data('x'), { followed: [3] })],
    ['another record above itself', placed(9, 3, data('x'), { followed: [0] })],
    ['less than its header says', placed(9, 3, Buffer.alloc(0), { followed: [1, 2] }).subarray(0, 12)],
    ['a placement but no number', placed(2, 1, data('x'), { flags: 0x02 })],
    ['flags that no version has', placed(2, 1, data('x'), { flags: 0x40 })],
    ['half a frame', placed(2, 1, data('half').subarray(0, 9))],
    ['a piece of nothing', placed(2, 1, Buffer.alloc(0), { piece: [0, 5] })],
    ['a piece that goes beyond its record', placed(2, 1, Buffer.alloc(3), { piece: [3, 5] })],
    ['a piece of more than a record holds', placed(2, 1, Buffer.alloc(3), { piece: [0, 65_520] })],
    ['a piece without a placement', Buffer.concat([u(0x20, 1), u(0, 2), u(9, 2), data('x')])],
  ])('a record with %s ends the session', (_what, message) => {
    for (const link of ['a', 'b'] as const) {
      const exit = new Exit();
      exit.read(exit[link], message);
      exit.expectEnd('bad-record');
      expect(exit.textOf(1).length).toBeLessThanOrEqual(1);
    }
  });

  it('a number 32,768 above the last is held, with any floor that it can have', () => {
    for (const back of [1, 32_768, 32_769]) {
      const exit = new Exit();
      exit.read(exit.b, placed(32_769, back, data('x')));
      expect(exit.fault).toBeUndefined();
    }
  });

  it('a record without a number, on a link on which none has come, ends the session', () => {
    const exit = new Exit();
    exit.read(exit.b, plain(data('x')));
    exit.expectEnd('bad-record');
  });

  it('a frame that is cut before a placed record ends the session, whatever link that comes by', () => {
    for (const link of ['a', 'b'] as const) {
      const exit = new Exit();
      exit.read(exit.a, plain(data('whole'), data('cut').subarray(0, 10)));
      expect(exit.fault).toBeUndefined();
      exit.read(exit[link], placed(3, 1, data('x')));
      exit.expectEnd('bad-record');
    }
  });

  it('a frame that is cut after a placed record ends the session', () => {
    const exit = new Exit();
    exit.read(exit.b, placed(2, 1, data('x')), plain(data('cut').subarray(0, 10)));
    exit.expectEnd('bad-record');
  });

  it('a frame that comes before what it must follow is found by the rules of frames', () => {
    const exit = new Exit();
    exit.read(exit.b, placed(3, 2, wire.data(5, Buffer.from('x'))));
    exit.expectEnd('bad-stream-id');
  });

  it('the same number with other content is ignored, whether the first was handled or waits', () => {
    const exit = new Exit();
    exit.read(exit.b, placed(2, 1, data('first')));
    exit.read(exit.a, placed(2, 1, data('other')), placed(2, 1, wire.reset(1)));
    exit.read(exit.b, placed(4, 1, data('waits')), placed(4, 3, data('other', 3)));
    exit.read(exit.a, placed(4, 1, data('other')), placed(4, 1, wire.data(9, Buffer.from('x'))));
    exit.read(exit.a, placed(3, 1, data(' and ')));
    expect([exit.textOf(1), exit.textOf(3), exit.fault]).toEqual(['first and waits', '', undefined]);
    expect(exit.session.received).toBe(4);
  });

  it('pieces of another total end the session, and pieces of a record that has come are ignored', () => {
    const frame = data('in pieces');
    const [first, second] = [frame.subarray(0, 8), frame.subarray(8)];
    const total = frame.length;
    const exit = new Exit();
    exit.read(exit.b, placed(2, 1, first, { piece: [0, total] }));
    exit.read(exit.a, placed(2, 1, second, { piece: [8, total] }));
    exit.read(exit.b, placed(2, 1, first, { piece: [0, total + 1] }), placed(2, 1, data('other')));
    expect([exit.textOf(1), exit.fault]).toEqual(['in pieces', undefined]);
    exit.read(exit.b, placed(3, 1, first, { piece: [0, total] }), placed(3, 1, second, { piece: [8, total + 1] }));
    exit.expectEnd('bad-record');
  });
});

describe('A peer that makes an end hold records', () => {
  it('the 8 MiB that an honest peer may have in flight are held, and 10 MiB end the session', () => {
    const exit = new Exit();
    const frame = wire.data(1, Buffer.alloc(48 * KIB));
    let held = 0;
    for (let number = 3; exit.fault === undefined && number < 1_000; number++) {
      exit.read(exit.b, placed(number, 1, frame));
      held += frame.length;
      if (held < 8.5 * MIB) expect(exit.fault).toBeUndefined();
    }
    expect(held).toBeLessThan(9.2 * MIB);
    exit.expectEnd('bad-record');
  });

  it('empty records and pieces of one byte are bounded by what they cost, not by what they carry', () => {
    for (const frames of ['none', 'pieces'] as const) {
      const memory = new RetransmitMemory(64 * MIB);
      const exit = new Exit(memory, { reorderBytes: MIB });
      let sent = 0;
      for (let number = 3; exit.fault === undefined; number++) {
        if (frames === 'pieces') exit.read(exit.b, placed(number, 1, Buffer.alloc(1), { piece: [0, 60_000] }));
        else exit.read(exit.b, placed(number, 1, wire.credit(1, 4_096)));
        sent += 1;
        expect(memory.used).toBeLessThan(1.1 * MIB);
      }
      expect(sent).toBeLessThan(2_700);
      exit.expectEnd('bad-record');
    }
  });

  it('a process without memory drops the link and not the session, and acknowledges nothing of that record', () => {
    const memory = new RetransmitMemory(MIB);
    const exit = new Exit(memory, { minRetransmitBytes: 64 * KIB });
    const frame = wire.data(1, Buffer.alloc(48 * KIB));
    memory.used += MIB;
    expect(exit.read(exit.b, placed(3, 1, frame), placed(4, 1, frame))).toBe(true);
    expect(exit.read(exit.b, placed(5, 1, frame))).toBe(false);
    expect(exit.fault).toBeUndefined();
    exit.session.detach(exit.b, 0);
    expect(exit.session.isAttached).toBe(true);
    exit.read(exit.a, placed(2, 1, data('x')));
    expect(exit.session.received).toBe(4);
    exit.read(exit.a, placed(5, 1, frame));
    expect([exit.session.received, memory.used - MIB - exit.session.retransmitBytes]).toEqual([5, 0]);
  });

  it('what waits is given back when the session ends', () => {
    const exit = new Exit();
    exit.read(exit.b, placed(3, 1, data('x')), placed(5, 1, data('half'), { piece: [0, 100] }));
    exit.read(exit.a, plain(wire.goAway(24, 0)));
    exit.expectEnd('session-closed');
  });
});

describe('A peer that wants to be without all links', () => {
  it('its links go on where no other comes, and records on them do not say any more that they are left', () => {
    const exit = new Exit();
    const flags: number[] = [];
    const poll = () => {
      for (let next = exit.session.poll(exit.now); next !== undefined; next = exit.session.poll(exit.now))
        flags.push(Number(next.message[0]?.[0]));
    };
    exit.read(exit.a, Buffer.of(0x10));
    exit.read(exit.b, placed(3, 1, Buffer.alloc(0), { flags: 0x10 }));
    poll();
    expect(flags.filter((flag) => (flag & 0x10) !== 0)).toHaveLength(2);
    exit.now += 1_001;
    exit.session.mux.write(1, Buffer.from('goes on'));
    flags.length = 0;
    poll();
    expect(flags.length).toBeGreaterThan(0);
    expect(flags.filter((flag) => (flag & 0x10) !== 0)).toEqual([]);
  });
});

describe('LINKS on several links', () => {
  it('the newest number that is wanted counts, whichever link is faster', () => {
    const exit = new Exit();
    const sent: { link: SessionLink; message: Buffer }[] = [];
    const poll = () => {
      for (let next = exit.session.poll(exit.now); next !== undefined; next = exit.session.poll(exit.now))
        sent.push({ link: next.link, message: Buffer.concat(next.message) });
    };
    for (const [wanted, full, free] of [
      [3, exit.a, exit.b],
      [2, exit.b, exit.a],
    ] as const) {
      full.isFull = true;
      free.isFull = false;
      exit.session.mux.wantLinks(wanted, 0);
      poll();
    }
    const placements = sent.map(({ message }) => decodeRecordHeader([message])?.header.placement);
    expect(sent.map(({ link }) => link)).toEqual([exit.b, exit.a]);
    expect(placements[1]?.followed).toEqual([placements[0]?.number]);
  });
});

describe('A peer that was not offered several links, or did not offer them', () => {
  const messages: readonly [what: string, message: Buffer][] = [
    ['a placed record', placed(2, 1, data('x'))],
    ['a piece', placed(2, 1, data('x'), { piece: [0, 100] })],
    ['the last record of a link', Buffer.of(0x10)],
  ];

  it.each(messages)('%s before HELLO has come ends the session', (_what, message) => {
    const session = OneLinkSession.of({ role: 'exit' });
    session.attach(0, 0, 0);
    session.receive([message], 0);
    expect(endOf(session)).toBe('bad-record');
  });

  it.each(messages)('%s of a peer whose HELLO does not offer links ends the session', (_what, message) => {
    const session = OneLinkSession.of({ role: 'exit' });
    session.attach(0, 0, 0);
    session.receive([plain(wire.hello(1024, 1, 1), wire.open(1))], 0);
    expect(session.canJoin).toBe(false);
    session.receive([message], 0);
    expect(endOf(session)).toBe('bad-record');
  });

  it.each(messages)('%s to an end that offers one link ends the session', (_what, message) => {
    const session = OneLinkSession.of({ role: 'exit', maxLinks: 1 });
    session.attach(0, 0, 0);
    session.receive([plain(wire.hello(1024, 1, FEATURES), wire.open(1))], 0);
    expect(session.canJoin).toBe(false);
    expect(session.join(0, 0)).toBeUndefined();
    session.receive([message], 0);
    expect(endOf(session)).toBe('bad-record');
  });

  function endOf({ mux }: OneLinkSession): string | undefined {
    for (let event = mux.pollEvent(); event; event = mux.pollEvent()) if (event.type === 'ended') return event.fault;
    return undefined;
  }
});

describe('A peer that floods', () => {
  it.each(['a', 'b'] as const)(
    'an acknowledgement of one more than link %s has carried ends the session, however much the other has',
    (link) => {
      const exit = new Exit();
      for (let i = 0; i < 20; i++) {
        exit.session.mux.write(1, Buffer.alloc(100));
        exit.now += 5;
        exit.send();
      }
      expect(exit.carried.a).not.toBe(exit.carried.b);
      exit.read(exit[link], acknowledging(exit.carried[link]));
      expect([exit.fault, exit[link].hasInFlight]).toEqual([undefined, false]);
      exit.read(exit[link], acknowledging(exit.carried[link] + 1));
      exit.expectEnd('bad-record');
    },
  );

  it('a thousand LINKS at once are accepted, and more end the session', () => {
    const exit = new Exit();
    const flood = Array.from({ length: 900 }, () => wire.links(5));
    exit.read(exit.a, plain(...flood));
    expect(exit.events.filter(({ type }) => type === 'links-wanted')).toHaveLength(900);
    exit.read(exit.a, plain(...flood));
    exit.expectEnd('peer-flood');
  });

  it('empty placed records by several links are a flood', () => {
    const exit = new Exit();
    let sent = 0;
    for (; exit.fault === undefined && sent < 10_000; sent++)
      exit.read(sent % 2 === 0 ? exit.a : exit.b, placed(sent + 2, 1, Buffer.alloc(0)));
    expect(sent).toBeGreaterThan(900);
    expect(sent).toBeLessThan(1_100);
    exit.expectEnd('peer-flood');
  });

  it('empty records that come again and again under one number are a flood', () => {
    const exit = new Exit();
    let sent = 0;
    for (; exit.fault === undefined && sent < 10_000; sent++) exit.read(exit.b, placed(2, 1, Buffer.alloc(0)));
    expect(sent).toBeLessThan(1_100);
    exit.expectEnd('peer-flood');
  });

  it('a session has no more links than 8, whatever its peer asks for', () => {
    const exit = new Exit();
    for (let links = 2; links < 8; links++) expect(exit.session.join(0, 0)).toBeDefined();
    expect([exit.session.canJoin, exit.session.join(0, 0), exit.session.links.length]).toEqual([false, undefined, 8]);
  });

  it('a join that says more than was sent is refused, and ends nothing', () => {
    const exit = new Exit();
    expect([exit.session.mayJoin(1_000), exit.session.join(1_000, 0)]).toEqual([false, undefined]);
    expect([exit.fault, exit.session.links.length]).toEqual([undefined, 2]);
  });
});
