/** Appendix A of docs/protocol.md: what the ends of a session do when they read it. */
import { describe, expect, it } from 'vitest';
import type { MuxEvent } from '../../src/mux/events.ts';
import type { SessionLink } from '../../src/mux/links/session-link.ts';
import {
  type Acknowledgement,
  decodeRecordHeader,
  encodeRecordHeader,
  type RecordHeader,
} from '../../src/protocol/record-header.ts';
import { UNSPECIFIED } from '../../src/protocol/services.ts';
import {
  decodeSessionAnswer,
  decodeSessionRequest,
  encodeSessionAnswer,
  encodeSessionRequest,
} from '../../src/protocol/session-request.ts';
import { OneLinkSession } from '../support/mux/one-link-session.ts';
import { hex, SESSION_ID as ID, isOfSession, readVectors } from '../support/mux/vectors.ts';
import { ipTarget } from '../support/net/targets.ts';

const { bytes, unused } = readVectors('docs/protocol.md');

describe('the resumption of appendix A', () => {
  /** One end of it: the product's, which is given the other end's records of the page. */
  class End {
    readonly session: OneLinkSession;
    readonly events: MuxEvent[] = [];

    constructor(role: 'client' | 'exit') {
      // The HELLOs of the page offer one link.
      this.session = OneLinkSession.of({ role, maxLinks: 1 });
      this.session.attach(0, 0, 0);
    }

    read(name: string, now: number): void {
      this.session.receive([bytes(name)], now);
      for (let event = this.session.mux.pollEvent(); event; event = this.session.mux.pollEvent())
        this.events.push(event);
    }

    send(now: number): Content {
      return contentOf(Buffer.concat(this.session.pollMessage(now) ?? []));
    }
  }

  interface Content {
    readonly isNumbered: boolean | undefined;
    readonly acknowledged: Acknowledgement | undefined;
    readonly frames: string;
  }

  /** All but PING, PONG and the flag `may wait`, for which each end has its own rules. */
  function contentOf(record: Buffer): Content {
    const decoded = decodeRecordHeader([record]);
    const frames: string[] = [];
    for (let at = decoded?.bytes ?? 0; at < record.length; ) {
      const end = at + 8 + record.readUIntBE(at + 1, 3);
      if (record[at] !== 0x08 && record[at] !== 0x09) frames.push(hex(record.subarray(at, end)));
      at = end;
    }
    const { isNumbered, acknowledged } = decoded?.header ?? {};
    return { isNumbered, acknowledged, frames: frames.join('') };
  }

  const requestOf = (name: string) => decodeSessionRequest([bytes(name)]);
  const answerOf = (name: string) => decodeSessionAnswer([bytes(name)]);

  it('an exit does what the page says, when it reads what the client of the page sends', () => {
    const exit = new End('exit');
    expect(requestOf('resume.a.client.request')).toEqual({ kind: 'begin', id: Uint8Array.from(ID), received: 0 });
    expect(answerOf('resume.a.exit.answer')).toEqual({ received: exit.session.received });
    exit.read('resume.a.client.1', 20);
    expect(exit.session.mux.accept(1, 20)).toBe(true);
    expect(exit.send(20)).toEqual(contentOf(bytes('resume.a.exit.1')));
    exit.read('resume.a.client.2', 50);
    expect(exit.events).toContainEqual({ type: 'data', stream: 1, bytes: Buffer.from('ping') });
    exit.session.mux.write(1, Buffer.from('pong'));
    expect(exit.send(50)).toEqual(contentOf(bytes('resume.a.exit.2')));

    exit.session.lose(60);
    const request = requestOf('resume.b.client.request');
    expect(request?.kind).toBe('resume');
    expect(answerOf('resume.b.exit.answer')).toEqual({ received: exit.session.received });
    expect(exit.session.attach(request?.received ?? 0, exit.session.received, 800)).toBeDefined();
    expect(exit.send(800)).toEqual(contentOf(bytes('resume.b.exit.2')));
    exit.send(800); // a PING
    exit.read('resume.b.client.3', 900);
    expect(exit.events).toContainEqual({ type: 'finish', stream: 1 });
    exit.session.mux.finish(1);
    expect(exit.send(900)).toEqual(contentOf(bytes('resume.b.exit.3')));
    expect(exit.session.received).toBe(3);
  });

  it('a client does what the page says, when it reads what the exit of the page sends', () => {
    const client = new End('client');
    expect(client.session.mux.open(ipTarget('192.0.2.1', 443), 0)).toEqual({ stream: 1 });
    expect(client.send(0)).toEqual(contentOf(bytes('resume.a.client.1')));
    client.read('resume.a.exit.1', 30);
    client.session.mux.write(1, Buffer.from('ping'));
    const { frames } = contentOf(bytes('resume.a.client.2'));
    expect(client.send(30).frames).toBe(frames);
    client.session.mux.finish(1);
    const last = contentOf(bytes('resume.a.client.3'));
    expect(client.send(30).frames).toBe(last.frames);

    client.session.lose(60);
    expect(requestOf('resume.b.client.request')).toMatchObject({ kind: 'resume', received: client.session.received });
    const answer = answerOf('resume.b.exit.answer');
    expect(client.session.attach(answer && 'received' in answer ? answer.received : 0, 1, 800)).toBeDefined();
    expect(client.send(800)).toEqual(contentOf(bytes('resume.b.client.3')));
    client.send(800); // a PING
    client.read('resume.b.exit.2', 940);
    expect(client.events).toContainEqual({ type: 'data', stream: 1, bytes: Buffer.from('pong') });
    client.read('resume.b.exit.3', 950);
    expect(client.events).toContainEqual({ type: 'finish', stream: 1 });
    expect(client.send(950)).toEqual(contentOf(bytes('resume.b.client.acknowledgement')));
    expect(client.session.fits(3)).toBe(true);
  });

  it('an exit gives the datagrams of the page positions and no numbers', () => {
    const exit = new End('exit');
    const acknowledged = (name: string) => ({ acknowledged: contentOf(bytes(name)).acknowledged });
    exit.read('datagrams.a.client.1', 20);
    expect(exit.send(20)).toEqual(contentOf(bytes('datagrams.a.exit.1')));
    exit.read('datagrams.a.client.2', 35);
    exit.read('datagrams.a.client.3', 40);
    expect(exit.session.mux.accept(7, 40)).toBe(true);
    expect(exit.send(40)).toEqual(contentOf(bytes('datagrams.a.exit.2')));
    exit.read('datagrams.a.client.4', 55);
    exit.read('datagrams.a.client.5', 60);
    expect(exit.send(60)).toMatchObject(acknowledged('datagrams.a.exit.acknowledgement'));

    exit.session.lose(70);
    const request = requestOf('datagrams.b.client.request');
    expect(answerOf('datagrams.b.exit.answer')).toEqual({ received: exit.session.received });
    exit.session.attach(request?.received ?? -1, exit.session.received, 75);
    exit.send(75); // PING and PONG
    exit.read('datagrams.b.client.1', 80);
    exit.read('datagrams.b.client.2', 90);
    expect(exit.send(90)).toMatchObject(acknowledged('datagrams.b.exit.acknowledgement'));
    const datagram = { type: 'datagram', stream: 7, address: ipTarget('192.0.2.1', 53), content: Buffer.from('ping') };
    expect(exit.events.filter(({ type }) => type === 'datagram')).toEqual([datagram, datagram, datagram]);
    expect(exit.session.received).toBe(4);
  });

  it('a client knows by the acknowledgements of the page which of its numbered records have arrived', () => {
    const client = new End('client');
    const { mux } = client.session;
    const address = ipTarget('192.0.2.1', 53);
    const sendDatagram = (now: number) => mux.sendDatagram(7, Buffer.from('ping'), address, now);
    expect(client.send(0)).toEqual(contentOf(bytes('datagrams.a.client.1')));
    client.read('datagrams.a.exit.1', 30);
    // The page has stream 7.
    for (let id = 1; id < 7; id += 2) mux.open(ipTarget('192.0.2.1', 443), 30);
    expect(mux.open(UNSPECIFIED, 30, { service: 'udp' })).toEqual({ stream: 7 });
    expect(client.send(30).frames).toContain(hex(bytes('frame.open.udp')));
    sendDatagram(30);
    expect(client.send(30)).toEqual(contentOf(bytes('datagrams.a.client.3')));
    client.read('datagrams.a.exit.2', 50);
    sendDatagram(50);
    expect(client.send(50)).toEqual(contentOf(bytes('datagrams.a.client.4')));
    mux.pingNow();
    expect(client.send(50).isNumbered).toBe(true);
    client.read('datagrams.a.exit.acknowledgement', 65);
    expect(client.session.retransmitBytes).toBe(0);

    client.session.lose(70);
    client.session.attach(3, 2, 75);
    sendDatagram(75);
    expect(client.send(75)).toEqual(contentOf(bytes('datagrams.b.client.1')));
    mux.finish(7);
    expect(client.send(75)).toEqual(contentOf(bytes('datagrams.b.client.2')));
    client.read('datagrams.b.exit.acknowledgement', 100);
    expect([client.session.retransmitBytes, mux.isOver]).toEqual([0, false]);
  });
});

describe('the links of appendix A', () => {
  it('the request to join and its answers are written and read as the page says', () => {
    const request = { kind: 'join', id: ID, received: 0 } as const;
    expect(hex(encodeSessionRequest(request))).toBe(hex(bytes('links.b.client.request')));
    expect(decodeSessionRequest([bytes('links.b.client.request')])).toEqual({ ...request, id: Uint8Array.from(ID) });
    expect(hex(encodeSessionAnswer({ received: 1 }))).toBe(hex(bytes('links.b.exit.answer')));
    expect(hex(encodeSessionAnswer({ fault: 'too-many-links' }))).toBe(hex(bytes('links.b.exit.answer.too-many')));
    expect(decodeSessionAnswer([bytes('links.b.exit.answer.too-many')])).toEqual({ fault: 'too-many-links' });
  });

  const plain = { isNumbered: true, mayWait: false, isLast: false, acknowledged: undefined };
  const second = { number: 2, floor: 1, followed: [] };
  const headers: [string, RecordHeader][] = [
    ['links.b.client.1', { ...plain, placement: second }],
    ['links.a.client.2', { ...plain, placement: { number: 3, floor: 1, followed: [] } }],
    ['links.a.client.3', { ...plain, placement: { number: 4, floor: 1, followed: [2] } }],
    ['links.a.client.4', { ...plain, placement: second }],
    ['links.piece.1', { ...plain, placement: second, piece: { offset: 0, total: 10 } }],
    ['links.piece.2', { ...plain, placement: second, piece: { offset: 6, total: 10 } }],
    ['links.last', { ...plain, isLast: true }],
  ];

  it.each(headers)('the header of %s is written and read as the page says', (name, header) => {
    const decoded = decodeRecordHeader([bytes(name)]);
    expect(decoded?.header).toEqual(header);
    expect(hex(encodeRecordHeader(header))).toBe(hex(bytes(name).subarray(0, decoded?.bytes)));
  });

  /** An exit with both links, which has the first record of the page. */
  function start() {
    const exit = OneLinkSession.of({ role: 'exit' });
    const a = exit.attach(0, 0, 0);
    exit.receive([bytes('links.a.client.1')], 10);
    for (const stream of [1, 3]) exit.mux.accept(stream, 10);
    const answer = decodeSessionAnswer([bytes('links.b.exit.answer')]);
    expect(answer).toEqual({ received: exit.received });
    const b = exit.join(decodeSessionRequest([bytes('links.b.client.request')])?.received ?? -1, 20);
    if (a === undefined || b === undefined) throw new Error('no link');
    while (exit.poll(30) !== undefined);
    const read = (link: SessionLink, name: string, now: number): string[] => {
      exit.handleMessage(link, [bytes(name)], now);
      const events: MuxEvent[] = [];
      for (let event = exit.mux.pollEvent(); event; event = exit.mux.pollEvent()) events.push(event);
      return events.flatMap((event) => (event.type === 'data' ? `${event.stream} ${Buffer.from(event.bytes)}` : []));
    };
    return { exit, a, b, read };
  }

  it('an exit hands each record on as soon as the page says, and acknowledges what came on its link', () => {
    const { exit, a, b, read } = start();
    expect(read(a, 'links.a.client.2', 40)).toEqual(['3 three']);
    expect(read(a, 'links.a.client.3', 45)).toEqual([]);
    expect(exit.received).toBe(1);
    expect(read(a, 'links.a.client.4', 50)).toEqual(['1 pi', '1 ng']);
    expect(exit.received).toBe(4);
    const told = exit.poll(51);
    expect(told?.link).toBe(a);
    expect(hex(Buffer.concat(told?.message ?? []))).toBe(hex(bytes('links.a.exit.acknowledgement')));
    expect(read(b, 'links.b.client.1', 60)).toEqual([]);
    expect(read(b, 'links.last', 60)).toEqual([]);
    expect([exit.received, b.isPeerLeaving, exit.mux.isOver]).toEqual([4, true, false]);
  });

  it('an exit hands a record on when its last piece has come', () => {
    const { a, b, read } = start();
    expect(read(a, 'links.piece.2', 40)).toEqual([]);
    expect(read(b, 'links.piece.2', 40)).toEqual([]);
    expect(read(b, 'links.piece.1', 40)).toEqual(['1 pi']);
    expect(read(a, 'links.a.client.4', 50)).toEqual([]);
  });
});

describe('appendix A', () => {
  it('has no vector of sessions that the tests above do not use', () => {
    expect(unused().filter(isOfSession)).toEqual([]);
  });
});
