/** docs/wstun.lua on real packets: two ends over a real WebSocket, captured on loopback and read by tshark. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { FAULTS, WstunError } from '../../src/errors.ts';
import { DEFAULT_MUX_CONFIG } from '../../src/mux/config.ts';
import { DEFAULT_RESUME_CONFIG } from '../../src/mux/links/resume-config.ts';
import { RetransmitMemory } from '../../src/mux/links/retransmit-store.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { encodeRecordHeader } from '../../src/protocol/record-header.ts';
import type { Message, MessageLink } from '../../src/transport/message-link.ts';
import { dialWebSocket } from '../../src/transport/websocket/websocket-dial.ts';
import { SessionDriver } from '../../src/tunnel/session/session-driver.ts';
import type { Target } from '../../src/tunnel/stream/stream.ts';
import { faultOfPromise } from '../support/faults.ts';
import { startLinkServer } from '../support/links/websocket-pair.ts';
import { FIRST_LINK } from '../support/mux/session-pairs.ts';
import { readVectors } from '../support/mux/vectors.ts';
import { frame, wire } from '../support/mux/wire.ts';
import { ipTarget } from '../support/net/targets.ts';
import { dissect, fieldIn, framesIn, startCapture } from '../support/programs/capture.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const NUMBERED = encodeRecordHeader({ isNumbered: true, mayWait: false, acknowledged: undefined });

const OPEN = 1;
const OPENED = 2;
const OPEN_FAILED = 3;
const DATA = 4;
const CREDIT = 5;
const FINISH = 6;
const RESET = 7;
const GO_AWAY = 10;

interface Links {
  readonly client: MessageLink;
  readonly exit: MessageLink;
}

/** What `act` does over real WebSockets, captured; returns the server's port. */
async function captured(file: string, act: (dial: () => Promise<Links>) => Promise<void>): Promise<number> {
  const server = await startLinkServer();
  const dial = async (): Promise<Links> => {
    const accepted = server.nextLink();
    // Random masks: the dissector must see through them.
    const client = await dialWebSocket(new URL(`ws://127.0.0.1:${server.port}/some/path`), {
      signal: AbortSignal.timeout(5000),
      mask: 'random',
    });
    return { client, exit: (await accepted).link };
  };
  try {
    const capture = await startCapture(server.port, file);
    await act(dial);
    await capture.stop();
    return server.port;
  } finally {
    await server.close();
  }
}

/** Sends whole messages to the exit, and waits until all have come. */
async function exchangeMessages({ client, exit }: Links, messages: readonly Message[]): Promise<void> {
  let due = messages.length;
  const handler = { handleDrain() {}, handleClose() {} };
  client.setHandler({ ...handler, handleMessage() {} });
  exit.setHandler({
    ...handler,
    handleMessage() {
      due -= 1;
    },
  });
  for (const message of messages) client.send(message);
  await until(() => due === 0);
}

/** Sends records both ways at once and waits until all have come. */
async function exchange({ client, exit }: Links, up: readonly Buffer[], down: readonly Buffer[]): Promise<void> {
  let due = up.length + down.length;
  const handler = {
    handleMessage() {
      due -= 1;
    },
    handleDrain() {},
    handleClose() {},
  };
  client.setHandler(handler);
  exit.setHandler(handler);
  for (let i = 0; i < Math.max(up.length, down.length); i++) {
    if (up[i]) client.send([NUMBERED, up[i]!]);
    if (down[i]) exit.send([NUMBERED, down[i]!]);
    // Some records share a segment, some do not.
    if (i % 8 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => due === 0);
}

const ANSWER_BYTES = 300_000;

/** A session with a transfer, a rejected stream, a reset and a shutdown. */
async function runSession({ client: near, exit: far }: Links): Promise<void> {
  let ended = 0;
  const common = {
    logger: silentLogger,
    resume: DEFAULT_RESUME_CONFIG,
    replayMemory: new RetransmitMemory(1024 * 1024),
  };
  const owner = { onEnd: () => void ended++ };
  const client = new SessionDriver({ ...common, mux: { ...DEFAULT_MUX_CONFIG, role: 'client' } }, owner);
  const exit = new SessionDriver(
    {
      ...common,
      mux: { ...DEFAULT_MUX_CONFIG, role: 'exit' },
      acceptor: {
        handleOffer(offer) {
          if (offer.target.port === 1) offer.refuse('dial-refused');
          else {
            const stream = offer.accept();
            if (offer.target.port === 2) stream.destroy(new WstunError('target-reset'));
            else stream.once('data', () => stream.end(Buffer.alloc(ANSWER_BYTES, 'answer')));
          }
          offer.release();
        },
      },
    },
    owner,
  );
  client.attachLink(near, FIRST_LINK);
  exit.attachLink(far, FIRST_LINK);
  const open = (target: Target) => client.open(target, AbortSignal.timeout(5000));

  const stream = await open({ kind: 'name', name: 'example.org', port: 443 });
  stream.end('GET / HTTP/1.0\r\n\r\n');
  let received = 0;
  stream.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  await until(() => stream.closed);
  expect(received).toBe(ANSWER_BYTES);
  expect(await faultOfPromise(open(ipTarget('192.0.2.1', 1)))).toBe('dial-refused');
  const reset = await open(ipTarget('2001:db8::1', 2));
  await until(() => reset.closed);
  await client.drain();
  client.end('access-removed');
  await until(() => ended === 2);
}

describe('docs/wstun.lua on a captured session', () => {
  let file = '';
  let port = 0;
  beforeAll(async () => {
    file = join(await tempDir(), 'session.pcap');
    port = await captured(file, async (dial) => runSession(await dial()));
  });

  it('docs/wstun.lua shows every frame, with its stream and length, in both directions', async () => {
    const frames = await framesIn(file);
    const ofExit = frames.filter(({ sourcePort }) => sourcePort === port);
    const ofClient = frames.filter(({ sourcePort }) => sourcePort !== port);
    const streamsOf = (seen: typeof frames, wanted: number) =>
      seen.filter(({ type }) => type === wanted).map(({ stream }) => stream);
    expect([ofClient[0]?.type, ofExit[0]?.type]).toEqual([0, 0]);
    expect(streamsOf(ofClient, OPEN)).toEqual([1, 3, 5]);
    expect(streamsOf(ofExit, OPENED)).toEqual([1, 5]);
    expect(streamsOf(ofExit, OPEN_FAILED)).toEqual([3]);
    expect(streamsOf(ofExit, RESET)).toEqual([5]);
    expect(streamsOf(ofClient, FINISH)).toEqual([1]);
    expect(streamsOf(ofExit, FINISH)).toEqual([1]);
    expect(streamsOf(ofClient, CREDIT).length).toBeGreaterThan(0);
    expect(streamsOf(frames, GO_AWAY)).toEqual([0, 0]);
    const bytesOf = (seen: typeof frames) =>
      seen.filter(({ type }) => type === DATA).reduce((sum, { length }) => sum + length, 0);
    expect(bytesOf(ofClient)).toBe('GET / HTTP/1.0\r\n\r\n'.length);
    expect(bytesOf(ofExit)).toBe(ANSWER_BYTES);
  });

  it('docs/wstun.lua shows targets, codes and credit', async () => {
    expect(await fieldIn(file, 'wstun.target')).toEqual(['example.org:443', '192.0.2.1:1', '[2001:db8::1]:2']);
    expect(await fieldIn(file, 'wstun.code')).toEqual(['32', '42', '10', '11']);
    expect(await fieldIn(file, 'wstun.max_streams')).toEqual(['1024', '1024']);
    const credit = (await fieldIn(file, 'wstun.credit')).map(Number);
    expect(Math.min(...credit)).toBeGreaterThan(0);
  });

  it('docs/wstun.lua shows what each end acknowledged, and records that hold nothing else', async () => {
    const counts = (await fieldIn(file, 'wstun.record.acknowledged')).map(Number);
    expect(counts.length).toBeGreaterThan(0);
    expect(Math.max(...counts)).toBeGreaterThan(5);
    expect(await dissect(file, '-V', '-Y', 'wstun')).toContain('wstun record, not numbered');
  });

  it('docs/wstun.lua has readable texts in the list and in the tree', async () => {
    const list = await dissect(file, '-Y', 'wstun');
    expect(list).toMatch(/wstun .*HELLO version 1, max streams 1024/);
    expect(list).toMatch(/OPEN #1 example\.org:443, credit \d+/);
    expect(list).toMatch(/OPEN_FAILED #3 dial-refused/);
    const tree = await dissect(file, '-V', '-Y', 'wstun');
    expect(tree).toContain('wstun GO_AWAY access-removed, last stream 0');
    expect(tree).toMatch(/wstun FINISH #1\n {4}Type: FINISH \(0x06\)\n {4}Length: 0\n {4}Stream: 1\n/);
    expect(tree).toMatch(/wstun RESET #5 target-reset\n(.*\n){3} {4}Code: target-reset \(42\)\n/);
    expect(tree).not.toMatch(/malformed/i);
  });

  it('docs/wstun.lua shows the same in two passes, as Wireshark itself reads', async () => {
    expect(await framesIn(file, '-2')).toEqual(await framesIn(file));
  });
});

describe('docs/wstun.lua on records cut anywhere', () => {
  const up = [wire.hello(7), wire.open(1), wire.data(1, Buffer.alloc(1000, 'up')), wire.finish(1)];
  const down = [wire.hello(9), wire.opened(1), wire.data(1, Buffer.alloc(70, 'down')), wire.reset(1), frame(0x91, 0)];
  const types = (frames: readonly Buffer[]) => frames.map((bytes) => bytes[0]);
  const sizes = [3, 5, 8, 23, 900];
  let file = '';
  let port = 0;

  function cut(frames: readonly Buffer[], first: number, size: number): Buffer[] {
    const bytes = Buffer.concat(frames);
    const records = [bytes.subarray(0, first)];
    for (let at = first; at < bytes.length; at += size) records.push(bytes.subarray(at, at + size));
    return records;
  }

  beforeAll(async () => {
    file = join(await tempDir(), 'cut.pcap');
    port = await captured(file, async (dial) => {
      for (const size of sizes) await exchange(await dial(), cut(up, 16, size), cut(down, 16, size));
      await exchange(await dial(), cut(up, 3, 3), cut(down, 3, 3));
      await exchange(
        await dial(),
        [Buffer.concat([wire.hello(), wire.open(1), frame(CREDIT, 1, Buffer.alloc(5))])],
        [],
      );
    });
  });

  /** The types of all frames by connection, first upwards, then downwards. */
  async function typesIn(...options: string[]): Promise<(number | undefined)[][]> {
    const frames = await framesIn(file, ...options);
    const connections = [...new Set(frames.map(({ connection }) => connection))];
    return connections.flatMap((connection) =>
      [false, true].map((downwards) =>
        frames
          .filter((seen) => seen.connection === connection && (seen.sourcePort === port) === downwards)
          .map(({ type }) => type),
      ),
    );
  }

  const whole = sizes.flatMap(() => [types(up), types(down)]);
  const malformed = [[0, OPEN], []];

  it.each([[[]], [['-2']]])(
    'docs/wstun.lua shows frames that continue in the next records, each direction apart, with the options %j',
    async (options) => {
      expect(await typesIn(...options)).toEqual([...whole, ...malformed]);
      expect((await fieldIn(file, 'wstun.data')).filter((hex) => hex.length === 2000).length).toBe(sizes.length);
    },
  );

  it('docs/wstun.lua reads conversations that its option names, where it does not recognise a cut HELLO', async () => {
    const told = await typesIn('-o', `wstun.ports:${port}`);
    expect(told).toEqual([...whole, types(up), types(down), ...malformed]);
  });

  it('docs/wstun.lua marks a malformed frame', async () => {
    expect(await dissect(file, '-V', '-Y', 'wstun.bad_frame')).toContain('Malformed frame: the peer ends the session');
  });
});

it('docs/wstun.lua shows what records of several links say of their place', async () => {
  const file = join(await tempDir(), 'links.pcap');
  await captured(file, async (dial) => {
    const links = await dial();
    const plain = { isNumbered: true, mayWait: false, acknowledged: undefined };
    const placement = { number: 5, floor: 2, followed: [4] };
    const piece = { offset: 100, total: 200 };
    await exchangeMessages(links, [
      [NUMBERED, wire.hello()],
      [encodeRecordHeader({ ...plain, placement }), wire.links(3, 16_384)],
      [encodeRecordHeader({ ...plain, placement: { ...placement, number: 6 }, piece }), Buffer.alloc(100)],
      [encodeRecordHeader({ ...plain, isLast: true, placement: { ...placement, number: 7 } })],
    ]);
  });
  expect(await fieldIn(file, 'wstun.record.number')).toEqual(['5', '6', '7']);
  expect(await fieldIn(file, 'wstun.record.floor')).toEqual(['3', '4', '5']);
  expect(await fieldIn(file, 'wstun.record.followed')).toEqual(['1', '2', '3']);
  expect(await fieldIn(file, 'wstun.record.offset')).toEqual(['100']);
  expect(await fieldIn(file, 'wstun.links')).toEqual(['3']);
  expect(await dissect(file, '-V')).toContain('LINKS 3 wanted, 16384 bytes each');
});

it('docs/wstun.lua shows services, where a listener listens, and datagrams with their addresses', async () => {
  const file = join(await tempDir(), 'services.pcap');
  const { bytes } = readVectors('docs/protocol.md');
  const unnumbered = encodeRecordHeader({ isNumbered: false, mayWait: false, acknowledged: undefined });
  const datagrams = ['connected', 'ipv4', 'name'].map((name) => bytes(`frame.datagram.${name}`));
  const unknown = frame(0x82, 99, Buffer.from('?'));
  await captured(file, async (dial) => {
    const opens = ['udp', 'udp-connected', 'resolver', 'tcp-listener', 'accepted'].map((name) =>
      bytes(`frame.open.${name}`),
    );
    await exchangeMessages(await dial(), [
      [NUMBERED, wire.hello(), ...opens, bytes('frame.opened.listener')],
      [bytes('record.datagram.acknowledges')],
      // In the middle of a frame of the frame stream.
      [NUMBERED, wire.data(1, Buffer.alloc(8)).subarray(0, 9)],
      [unnumbered, ...datagrams, unknown],
      [NUMBERED, wire.data(1, Buffer.alloc(8)).subarray(9)],
      [unnumbered, wire.ping()],
      [unnumbered, unknown.subarray(0, 8)],
    ]);
  });
  expect(await fieldIn(file, 'wstun.service')).toEqual(['2', '2', '3', '4', '6']);
  expect(await fieldIn(file, 'wstun.listener')).toEqual(['13']);
  expect(await fieldIn(file, 'wstun.address')).toEqual(['127.0.0.1:8080', '192.0.2.1:53', 'example.org:53']);
  const ping = Buffer.from('ping').toString('hex');
  const data = [ping, ping, ping, ping, Buffer.from('?').toString('hex'), '0'.repeat(16)];
  expect(await fieldIn(file, 'wstun.data')).toEqual(data);
  for (const options of [[], ['-2']]) {
    const tree = await dissect(file, '-V', ...options);
    for (const text of [
      'OPEN #7 UDP association 0.0.0.0:0, credit 0',
      'OPEN #11 DNS resolver 0.0.0.0:0, credit 65536',
      'OPEN #2 accepted connection of #13 192.0.2.7:49152, credit 65536',
      'OPENED #13 at 127.0.0.1:8080, credit 0',
      'DATAGRAM #9 4 bytes',
      'DATAGRAM #7 192.0.2.1:53 4 bytes',
      'DATAGRAM #7 example.org:53 4 bytes',
    ])
      expect(tree).toContain(`wstun ${text}\n`);
    expect(tree.match(/wstun malformed frame/g)).toHaveLength(2);
  }
});

it('docs/wstun.lua knows the codes of src/errors.ts', () => {
  const script = readFileSync(new URL('../../docs/wstun.lua', import.meta.url), 'utf8');
  const table = Array.from(script.matchAll(/^ {2}\[(\d+)\] = '([a-z-]+)',$/gm), ([, wireCode, name]) => [
    name,
    Number(wireCode),
  ]);
  const faults = Object.entries(FAULTS).flatMap(([name, fault]) =>
    'wire' in fault ? [[name, fault.wire] as const] : [],
  );
  expect(new Map(table as [string, number][])).toEqual(new Map<string, number>(faults));
});
