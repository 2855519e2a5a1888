/**
 * What HTTP forwarding reads is given back, and never too early: memory is poisoned when it is released, so a byte that
 * was wanted later would arrive wrong. All through a whole tunnel, whose streams have an owner for each byte.
 */
import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { Ledger } from '../support/memory/ledger.ts';
import { tcpServer } from '../support/net/tcp.ts';
import { payload, receive, sendPayload } from '../support/payload.ts';
import { type Prng, prng } from '../support/prng.ts';
import { MessageReader, type PlannedContent, planContent, serialise, writeCut } from '../support/proxy/http-bytes.ts';
import { dial } from '../support/proxy/through-proxy.ts';
import { startWholeTunnel } from '../support/proxy/whole-tunnel.ts';
import { atEnd } from '../support/scope.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;

interface PlannedExchange {
  readonly request: PlannedContent;
  readonly answer: PlannedContent;
  readonly interim: boolean;
}

function planExchanges(random: Prng): PlannedExchange[] {
  return Array.from({ length: 6 }, () => ({
    request: planContent(random, ['length', 'chunked']),
    answer: planContent(random, ['length', 'chunked', 'close']),
    interim: random.chance(0.3),
  }));
}

/** Now and then does not read for some ms, so that all before it fills up. */
function readSlowly(socket: Socket, random: Prng, take: (bytes: Buffer) => void): void {
  socket.on('data', (bytes: Buffer) => {
    take(bytes);
    if (!random.chance(0.3)) return;
    socket.pause();
    setTimeout(() => socket.resume(), random.below(8));
  });
}

/** Each request's path is its place in the plan. */
function answerAsPlanned(socket: Socket, plan: readonly PlannedExchange[], random: Prng, faults: string[]): void {
  const reader = new MessageReader();
  readSlowly(socket, random, (bytes) => {
    reader.add(bytes);
    for (let message = reader.take(); message !== undefined; message = reader.take()) {
      const at = Number(/^POST \/(\d+) /.exec(message.head)?.[1]);
      const planned = plan[at];
      if (planned === undefined || !message.content.equals(planned.request.content)) faults.push(`request ${at}`);
      else void sendAnswer(socket, planned, random);
    }
  });
}

async function sendAnswer(socket: Socket, { answer, interim }: PlannedExchange, random: Prng): Promise<void> {
  const before = interim ? 'HTTP/1.1 102 Processing\r\n\r\n' : '';
  const whole = serialise(['HTTP/1.1 200 OK', 'X-Of: target'], answer, random);
  await writeCut(socket, Buffer.concat([Buffer.from(before), whole]), random);
  if (answer.framing === 'close') socket.end();
}

/** Takes the answers in order; interim ones are passed over. */
async function converse(proxy: number, target: number, plan: readonly PlannedExchange[], random: Prng): Promise<void> {
  const socket = await dial(proxy);
  const reader = new MessageReader();
  let answered = 0;
  const wrong: number[] = [];
  readSlowly(socket, random, (bytes) => {
    reader.add(bytes);
    for (let message = reader.take(); message !== undefined; message = reader.take()) {
      if (message.head.startsWith('HTTP/1.1 102')) continue;
      if (!plan[answered]?.answer.content.equals(message.content)) wrong.push(answered);
      answered += 1;
    }
  });
  const sendsAhead = random.chance(0.5);
  for (const [i, planned] of plan.entries()) {
    const head = [`POST http://127.0.0.1:${target}/${i} HTTP/1.1`, `Host: 127.0.0.1:${target}`];
    await writeCut(socket, serialise(head, planned.request, random), random);
    if (!sendsAhead) await until(() => answered > i, 20_000);
  }
  await until(() => answered === plan.length, 20_000);
  expect(wrong).toEqual([]);
  socket.destroy();
}

describe('HTTP through the proxy', { timeout: 180_000 }, () => {
  it('HTTP content arrives unchanged, however it is framed and split, and however slowly it is read', async () => {
    const { port } = await startWholeTunnel();
    for (let seed = 1; seed <= 8; seed++) {
      const faults: string[] = [];
      const conversations = [0, 1, 2].map(async (i) => {
        const random = prng(seed * 10 + i);
        const plan = planExchanges(random);
        const target = await tcpServer((socket) => answerAsPlanned(socket, plan, prng(seed * 10 + i + 5), faults));
        await converse(port, target, plan, random);
      });
      await Promise.all(conversations).catch((error: unknown) => {
        throw new Error(`seed ${seed}`, { cause: error });
      });
      expect(faults, `seed ${seed}`).toEqual([]);
    }
  });
});

async function startTarget(handle: (req: IncomingMessage, res: ServerResponse) => void): Promise<number> {
  const server: Server = createServer(handle);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEnd(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

/** Sends the content back, in the framing that the path names. */
function echoContent(req: IncomingMessage, res: ServerResponse): void {
  if (req.url === '/length') res.setHeader('Content-Length', req.headers['x-bytes'] ?? '');
  if (req.url === '/close') {
    res.useChunkedEncodingByDefault = false;
    res.shouldKeepAlive = false;
  }
  req.pipe(res);
}

describe('memory of HTTP through the proxy', { timeout: 180_000 }, () => {
  const BYTES = 4 * MIB;

  it.each([
    ['of a given length', '/length', { 'Content-Length': BYTES }],
    ['in chunks', '/chunked', {}],
    ['up to the end of the connection', '/close', {}],
  ])('the proxy gives the memory of HTTP content back: content %s', async (_, path, framing) => {
    const ledger = Ledger.open();
    const { port } = await startWholeTunnel();
    const target = await startTarget(echoContent);
    const headers = { ...framing, Host: `127.0.0.1:${target}`, 'X-Bytes': BYTES };
    const req = request({ port, method: 'POST', path: `http://127.0.0.1:${target}${path}`, headers, agent: false });
    const answered = once(req, 'response') as Promise<[IncomingMessage]>;
    const sent = sendPayload(req, BYTES, 3);
    const [answer] = await answered;
    expect(await receive(answer)).toEqual({ bytes: BYTES, hash: await sent });
    // To the target read, sealed, read at the relay and opened; back read, sealed and opened.
    await ledger.settles(7 * BYTES);
  });

  it('the proxy gives memory back when a kept-alive connection is idle after many responses of 50 KiB', async () => {
    const ledger = Ledger.open();
    const { port } = await startWholeTunnel();
    const content = payload(50 * 1024, 4);
    const target = await startTarget((req, res) => {
      if (req.url === '/length') res.setHeader('Content-Length', content.length);
      res.end(content);
    });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    atEnd(() => agent.destroy());
    for (let i = 0; i < 100; i++) {
      const path = `http://127.0.0.1:${target}/${i % 2 ? 'length' : 'chunked'}`;
      const req = request({ port, path, headers: { Host: 'target' }, agent }).end();
      const [answer] = (await once(req, 'response')) as [IncomingMessage];
      const chunks: Buffer[] = [];
      for await (const chunk of answer) chunks.push(chunk as Buffer);
      expect(Buffer.concat(chunks).equals(content)).toBe(true);
      expect(req.reusedSocket).toBe(i > 0);
    }
    await ledger.settles(3 * 100 * content.length);
    // Records that say nothing but what has come are dropped, 11 bytes each.
    await until(() => ledger.owned - ledger.released < 10_000);
  });
});
