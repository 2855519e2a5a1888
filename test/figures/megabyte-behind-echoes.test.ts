/**
 * A transfer after small messages on a new session. Their acknowledgements wait, and the congestion controller must not
 * take that wait for a delay of the path. It was ten times slower where all acknowledgements waited
 * (docs/adr/0005-pacing.md).
 */
import type { Socket } from 'node:net';
import { expect, it } from 'vitest';
import { tcpServer } from '../support/net/tcp.ts';
import { invite, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough, take } from '../support/proxy/through-proxy.ts';

const MEGABYTE = 1_000_000;
/** At most, of each direction: the quickest counts. */
const SESSIONS = 5;
/** 16 to 20 ms; the rest is for a busy machine. */
const LIMIT_MS = 50;

/** Echoes; but sends a megabyte for a `B`, and says `k` for each megabyte of `u`. */
function answer(socket: Socket): void {
  let uploaded = 0;
  socket.on('data', (bytes: Buffer) => {
    if (bytes[0] === 0x42) return void socket.write(Buffer.alloc(MEGABYTE));
    if (bytes[0] !== 0x75) return void socket.write(bytes);
    uploaded += bytes.length;
    if (uploaded === MEGABYTE) socket.write('k');
  });
}

async function fiftyEchoes(socket: Socket): Promise<void> {
  const message = Buffer.alloc(64, 1);
  for (let i = 0; i < 50; i++) {
    socket.write(message);
    expect((await take(socket, message.length)).equals(message)).toBe(true);
  }
}

/** How long the transfer takes, ms. */
async function answerMs(socket: Socket, request: string | Uint8Array, answerBytes: number): Promise<number> {
  const since = performance.now();
  socket.write(request);
  await take(socket, answerBytes);
  return performance.now() - since;
}

it('a megabyte after 50 echoes takes a twentieth of a second on a new session, up and down', {
  timeout: 180_000,
}, async () => {
  const relay = await startRelay();
  const secret = await invite(relay, 'tester', { allow: ['*'] });
  const target = await tcpServer(answer);
  const ups: number[] = [];
  const downs: number[] = [];
  const slower = () => Math.max(Math.min(...ups), Math.min(...downs));
  for (let i = 0; i < 2 * SESSIONS && !(slower() < LIMIT_MS); i++) {
    const client = await startClient(secret);
    const socket = await connectThrough('SOCKS5', client.port, target);
    await fiftyEchoes(socket);
    if (i % 2 === 0) ups.push(await answerMs(socket, Buffer.alloc(MEGABYTE, 'u'), 1));
    else downs.push(await answerMs(socket, 'B', MEGABYTE));
    socket.destroy();
    await client.process.kill();
  }
  expect(slower(), JSON.stringify({ ups, downs })).toBeLessThan(LIMIT_MS);
});
