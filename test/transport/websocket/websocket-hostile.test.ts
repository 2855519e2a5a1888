/**
 * A hostile peer on a raw socket, the accepting end real: most of the cases of the Autobahn test suite's sections 2 to
 * 7 and 9, and the floods that `ws` had advisories for. Each must end its own link at once and cost little memory.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { HIGH_MARK_BYTES } from '../../../src/transport/websocket/websocket-limits.ts';
import { LinkRecorder, turns, untilStill } from '../../support/links/link-recorder.ts';
import { type LinkServer, startLinkServer } from '../../support/links/websocket-pair.ts';
import { until } from '../../support/until.ts';

/** At once, on a busy machine; waiting for a close frame would take 5 s. */
const ENDS_WITHIN_MS = 4_000;
const HELD_BYTES = 4 * 1024 * 1024;
const MASKED = 0x80;

let server: LinkServer;
beforeAll(async () => {
  server = await startLinkServer();
});
afterAll(() => server.close());

interface Victim {
  readonly peer: Socket;
  readonly link: MessageLink;
  readonly at: LinkRecorder;
}

async function upgraded(): Promise<Victim> {
  const accepted = server.nextLink();
  const peer = connect({ port: server.port, host: '127.0.0.1', noDelay: true });
  peer.on('error', () => undefined);
  peer.write(
    'GET /t HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  await once(peer, 'data');
  const { link } = await accepted;
  return { peer, link, at: new LinkRecorder(link) };
}

/**
 * A frame with a key of zeros; `length` stands for the payload’s own where given, with the length field of `field`
 * bytes.
 */
function frame(
  first: number,
  payload: Uint8Array,
  claim: { length?: number; field?: 0 | 2 | 8; mask?: number } = {},
): Buffer {
  const length = claim.length ?? payload.length;
  const field = claim.field ?? (length < 126 ? 0 : length < 65_536 ? 2 : 8);
  const mask = claim.mask ?? MASKED;
  const head = Buffer.alloc(2 + field + (mask === 0 ? 0 : 4));
  head[0] = first;
  head[1] = mask | (field === 0 ? length : field === 2 ? 126 : 127);
  if (field === 2) head.writeUInt16BE(length, 2);
  if (field === 8) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}

const bytes = (count: number): Buffer => Buffer.alloc(count, 0x61);
const repeat = (part: Buffer, count: number): Buffer => Buffer.concat(Array<Buffer>(count).fill(part));

/** Heap and buffers in use, after a collection: how much garbage V8 allows differs between releases of Node. */
async function heldBytes(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // What a collection frees is subtracted in the turns after it.
  for (let i = 0; i < 3; i++) {
    collect();
    await turns(3);
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** One message as passed on by a middlebox that frames it again, in fragments of at most `size` bytes. */
function inFragments(message: Buffer, size: number): Buffer {
  const frames: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const isLast = at + size >= message.length;
    frames.push(frame((isLast ? 0x80 : 0) | (at === 0 ? 0x02 : 0x00), message.subarray(at, at + size)));
  }
  return Buffer.concat(frames);
}

async function endsSoon(victim: Victim): Promise<void> {
  const began = performance.now();
  await victim.at.untilClosed();
  expect(performance.now() - began).toBeLessThan(ENDS_WITHIN_MS);
  expect(victim.at.closes.map(({ clean }) => clean)).toEqual([false]);
  victim.peer.destroy();
}

describe('a hostile WebSocket peer', () => {
  it.each<[string, Buffer]>([
    ['reserved bit 1 (deflate, never agreed)', frame(0xc2, bytes(5))],
    ['reserved bit 2', frame(0xa2, bytes(5))],
    ['reserved bit 3', frame(0x92, bytes(5))],
    ['reserved bit on a ping', frame(0xc9, bytes(0))],
    ...[3, 4, 5, 6, 7].map((code): [string, Buffer] => [`reserved data opcode ${code}`, frame(0x80 | code, bytes(1))]),
    ...[11, 12, 13, 14, 15].map((code): [string, Buffer] => [
      `reserved control opcode ${code}`,
      frame(0x80 | code, bytes(0)),
    ]),
    ['a fragmented ping', frame(0x09, bytes(1))],
    ['a ping of 126 bytes', frame(0x89, bytes(126))],
    ['a close frame of 1 byte', frame(0x88, bytes(1))],
    ['a close frame with code 1006', frame(0x88, Buffer.of(0x03, 0xee))],
    ['a close frame with broken UTF-8', frame(0x88, Buffer.of(0x03, 0xe8, 0xff))],
    ['an unmasked frame', frame(0x82, bytes(5), { mask: 0 })],
    ['a text message', frame(0x81, bytes(5))],
    ['an empty text message', frame(0x81, bytes(0))],
    ['a text message in fragments', Buffer.concat([frame(0x01, bytes(1)), frame(0x80, bytes(1))])],
    ['a continuation of nothing', frame(0x80, bytes(1))],
    ['a new message within a fragmented one', Buffer.concat([frame(0x02, bytes(1)), frame(0x82, bytes(1))])],
    ['65,536 bytes in one frame', frame(0x82, bytes(65_536))],
    ['65,536 bytes in two fragments', Buffer.concat([frame(0x02, bytes(65_535)), frame(0x80, bytes(1))])],
    ['a header that claims 100 MiB', frame(0x82, bytes(10), { length: 100 * 1024 * 1024 })],
    ['a header that claims 2^53 bytes', frame(0x82, bytes(10), { length: 2 ** 53 })],
    ['a length with its top bit set', Buffer.concat([Buffer.of(0x82, 0xff, 0x80), bytes(7)])],
    ['1,025 fragments', Buffer.concat([frame(0x02, bytes(1)), repeat(frame(0x00, bytes(1)), 1_024)])],
    ['a flood of fragments of one byte', Buffer.concat([frame(0x02, bytes(1)), repeat(frame(0x00, bytes(1)), 60_000)])],
    ['a flood of empty fragments', Buffer.concat([frame(0x02, bytes(0)), repeat(frame(0x00, bytes(0)), 60_000)])],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['noise', Buffer.from('9e3779b97f4a7c15f39cc0605cedc834'.repeat(50), 'hex')],
  ])('a hostile WebSocket peer ends its own link at once: %s', async (_name, attack) => {
    const victim = await upgraded();
    victim.peer.write(attack);
    await endsSoon(victim);
    expect(victim.at.messages).toEqual([]);
  });

  it('a flood of pings by a peer that does not read the answers ends the link', async () => {
    const victim = await upgraded();
    victim.peer.pause();
    const before = await heldBytes();
    const flood = repeat(frame(0x89, bytes(125)), 1_000);
    let most = 0;
    for (let i = 0; i < 100 && victim.at.closes.length === 0 && most < HELD_BYTES; i++) {
      victim.peer.write(flood);
      await turns(5);
      // Until then the kernel takes the answers; from then on it takes more than two of these to end the link.
      if (victim.link.queuedBytes > 0) most = Math.max(most, (await heldBytes()) - before);
    }
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThan(HELD_BYTES);
    await endsSoon(victim);
  });

  it('fragments of one byte hold none of the memory that was read with them', async () => {
    const victim = await upgraded();
    const before = await heldBytes();
    const padding = repeat(frame(0x8a, bytes(125)), 480);
    for (let i = 0; i < 500; i++) {
      victim.peer.write(Buffer.concat([frame(i === 0 ? 0x02 : 0x00, bytes(1)), padding]));
      if (victim.peer.writableNeedDrain) await once(victim.peer, 'drain');
    }
    await untilStill(() => victim.peer.bytesWritten - victim.peer.writableLength);
    // On a busy machine the link reads on for a while; what it keeps for good stays above the bound.
    await expect.poll(async () => (await heldBytes()) - before, { timeout: 30_000 }).toBeLessThan(HELD_BYTES);
    expect(victim.at.closes).toEqual([]);
    victim.peer.destroy();
    await victim.at.untilClosed();
  });

  it('a frame that arrives byte by byte costs bounded memory, and ends the link', async () => {
    const victim = await upgraded();
    victim.peer.write(frame(0x82, bytes(0), { length: 60_000 }));
    let sent = 0;
    while (victim.at.closes.length === 0 && sent < 20_000) {
      victim.peer.write(bytes(1));
      sent += 1;
      await turns(1);
    }
    await victim.at.untilClosed();
    expect(sent).toBeLessThan(20_000);
    victim.peer.destroy();
  });

  it('a WebSocket peer that vanishes in the middle of a frame ends its link', async () => {
    const victim = await upgraded();
    victim.peer.write(frame(0x82, bytes(10), { length: 1_000 }));
    await turns(5);
    victim.peer.resetAndDestroy();
    await endsSoon(victim);
    expect(victim.at.messages).toEqual([]);
  });
});

describe('a WebSocket peer of another implementation', () => {
  it.each<[string, Buffer, number]>([
    ['125 bytes', frame(0x82, bytes(125)), 125],
    ['126 bytes', frame(0x82, bytes(126)), 126],
    ['65,535 bytes', frame(0x82, bytes(65_535)), 65_535],
    // RFC 6455 §5.2 requires the shortest form of senders, and lets receivers accept others, as `ws` does.
    ['5 bytes with a 16-bit length', frame(0x82, bytes(5), { field: 2 }), 5],
    ['5 bytes with a 64-bit length', frame(0x82, bytes(5), { field: 8 }), 5],
    ...[3_000, 1_400, 500, 125, 64].map((size): [string, Buffer, number] => [
      `the largest message, framed anew by ${size} bytes`,
      inFragments(bytes(65_535), size),
      65_535,
    ]),
    [
      'a ping between fragments',
      Buffer.concat([frame(0x02, bytes(3)), frame(0x89, bytes(2)), frame(0x80, bytes(3))]),
      6,
    ],
    ['an empty message', frame(0x82, bytes(0)), 0],
  ])('a message of another implementation is received: %s', async (_name, sent, length) => {
    const { peer, at } = await upgraded();
    peer.write(sent);
    await at.untilMessages(1);
    expect(at.messages[0]?.equals(bytes(length))).toBe(true);
    peer.destroy();
    await at.untilClosed();
  });

  it.each([10, 1_000, 10_000])('%i pings in one write are all answered, in order', async (count) => {
    const { peer, at } = await upgraded();
    const pings = Array.from({ length: count }, (_, i) => Buffer.from(`ping ${i}`));
    const answers = Buffer.concat(pings.map((payload) => frame(0x8a, payload, { mask: 0 })));
    let received = Buffer.alloc(0);
    peer.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
    });
    peer.write(Buffer.concat([...pings.map((payload) => frame(0x89, payload)), frame(0x82, bytes(3))]));
    await until(() => received.length >= answers.length);
    expect(received.equals(answers)).toBe(true);
    await at.untilMessages(1);
    peer.destroy();
    await at.untilClosed();
  });

  it('of the pings of a peer that leaves answers unread, only the latest is answered', async () => {
    const { peer, link, at } = await upgraded();
    // More than the kernel takes for a peer that does not read.
    peer.pause();
    while (link.queuedBytes < 4 * HIGH_MARK_BYTES) {
      link.send([bytes(65_535)]);
      await turns(1);
    }
    peer.write(Buffer.concat([1, 2, 3, 4, 5].map((i) => frame(0x89, Buffer.from(`ping ${i}`)))));
    peer.write(frame(0x82, bytes(3)));
    await at.untilMessages(1);
    let tail = Buffer.alloc(0);
    peer.on('data', (chunk: Buffer) => {
      tail = Buffer.concat([tail, chunk]).subarray(-100);
    });
    peer.resume();
    const last = frame(0x8a, Buffer.from('ping 5'), { mask: 0 });
    await until(() => tail.subarray(-last.length).equals(last));
    expect(tail.includes('ping 4')).toBe(false);
    expect(at.closes).toEqual([]);
    peer.destroy();
    await at.untilClosed();
  });

  it('one frame in writes of 1 to 64 bytes is received', async () => {
    const { peer, at } = await upgraded();
    const whole = frame(0x82, Buffer.from(Array.from({ length: 40_000 }, (_, i) => i & 0xff)));
    for (let i = 0, size = 1; i < whole.length; i += size, size = (size % 64) + 1) {
      peer.write(whole.subarray(i, i + size));
      if (i % 7 === 0) await turns(1);
    }
    await at.untilMessages(1);
    expect(at.messages[0]?.equals(whole.subarray(8))).toBe(true);
    peer.destroy();
  });

  it.each([
    [1000, true],
    [1001, true],
    [1011, false],
    [4000, false],
  ])('a close frame with code %i is answered, and the end is clean: %s', async (code, clean) => {
    const { peer, at } = await upgraded();
    const answer = once(peer, 'data');
    peer.write(frame(0x88, Buffer.of(code >> 8, code & 0xff)));
    await at.untilClosed();
    expect(at.closes).toEqual([{ clean, text: `closed by the peer, code ${code}` }]);
    expect((await answer)[0]).toEqual(Buffer.of(0x88, 2, code >> 8, code & 0xff));
  });
});

describe('a WebSocket peer that does not close or read', () => {
  it('a WebSocket peer that does not answer the close frame is cut off after 5 s', async () => {
    const { peer, link, at } = await upgraded();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      link.close();
      vi.advanceTimersByTime(4_999);
      await turns(20);
      expect(at.closes).toEqual([]);
      vi.advanceTimersByTime(1);
      await at.untilClosed();
      expect(at.closes.map(({ clean }) => clean)).toEqual([false]);
    } finally {
      vi.useRealTimers();
      peer.destroy();
    }
  });

  it('a WebSocket peer that never reads holds a bounded queue', async () => {
    const { peer, link } = await upgraded();
    peer.pause();
    let sent = 0;
    const pump = (): void => {
      while (link.send([bytes(60_000)])) sent += 1;
    };
    link.setHandler({ handleMessage() {}, handleDrain: pump, handleClose() {} });
    pump();
    await untilStill(() => sent);
    expect(link.queuedBytes).toBeLessThan(256 * 1024);
    peer.destroy();
  });
});

describe('an invalid upgrade', () => {
  it.each([
    ['without a key', 'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n'],
    [
      'of another version',
      'Upgrade: websocket\r\nSec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n',
    ],
    ['to another protocol', 'Upgrade: h2c\r\n'],
  ])('an upgrade %s gets no answer from the acceptor', async (_name, headers) => {
    const peer = connect({ port: server.port, host: '127.0.0.1' });
    let answer = '';
    peer.on('data', (data) => {
      answer += String(data);
    });
    peer.write(`GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n${headers}\r\n`);
    await once(peer, 'close');
    expect(answer).toBe('');
    expect(server.rejections.splice(0)).toMatchObject([{ fault: 'bad-upgrade' }]);
  });
});
