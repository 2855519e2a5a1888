/**
 * A reset loses no byte that came before it. A program gets the same of a server that answers and closes with unread
 * input as without a tunnel, and so does a server of such a program. It is a reset, never a clean end.
 */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { unacknowledgedBytes } from '../../src/tunnel/stream/kernel-queue.ts';
import { startChaos } from '../support/net/chaos-stack.ts';
import { type Ending, endingOf } from '../support/net/ending.ts';
import { tcpServer } from '../support/net/tcp.ts';
import { payload, receive, sha256 } from '../support/payload.ts';
import { invite, startBehindRelay, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough, type Protocol } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';

const run = promisify(execFile);
const TIMES = 20;
const BYTES = 60_000;
const SENT = payload(BYTES, 3);
const WHOLE: Ending = { bytes: BYTES, hash: sha256(SENT), end: 'reset' };
const PROTOCOLS: readonly Protocol[] = ['SOCKS5', 'CONNECT'];

/** The port of a client's proxy. */
type Place = () => Promise<number>;

const OWN_EXIT: Place = async () => (await startClient(await invite(await startRelay(), 'u', { allow: ['*'] }))).port;

const NAMED_EXIT: Place = async () => {
  const { relay, exit } = await startBehindRelay();
  return (await startClient(await invite(exit, 'u', { allow: ['*'], url: relay.url }))).port;
};

const SLOW_EXIT: Place = async () => {
  const relay = await startRelay();
  return (await startClient(await invite(relay, 'u', { allow: ['*'], rate: '1mbit' }))).port;
};

/** One after the other, as a program would. */
async function times<T>(count: number, act: () => Promise<T>): Promise<T[]> {
  const all: T[] = [];
  for (let i = 0; i < count; i++) all.push(await act());
  return all;
}

function sendAndReset(socket: Socket): void {
  socket.write(SENT, () => socket.resetAndDestroy());
}

/** A target that answers the first byte and resets. */
function resetAfterAnswer(socket: Socket): void {
  socket.once('data', () => sendAndReset(socket));
}

async function asking(protocol: Protocol, proxy: number, port: number): Promise<Socket> {
  const program = await connectThrough(protocol, proxy, port);
  program.write('anything');
  return program;
}

/** A server that answers the first byte and closes without reading the rest: its kernel resets. */
async function refusingServer(): Promise<number> {
  const body = 'x'.repeat(1000);
  const answer = `HTTP/1.1 413 Too Large\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  return await tcpServer((socket) => {
    socket.once('data', () => {
      socket.pause();
      socket.write(answer, () => socket.destroy());
    });
  });
}

async function upload(proxy: string, file: string, port: number): Promise<string> {
  const wanted = [
    '-s',
    '-m',
    '20',
    '-H',
    'Expect:',
    '-o',
    '/dev/null',
    '-w',
    '%{http_code} %{size_download} %{exitcode}',
  ];
  const url = `http://127.0.0.1:${port}/`;
  const { stdout } = await run('curl', [...wanted, '-x', proxy, '-p', '--data-binary', `@${file}`, url]).catch(
    (error: { stdout: string }) => error,
  );
  return stdout;
}

describe.each([
  ['the relay’s own exit', OWN_EXIT],
  ['a named exit', NAMED_EXIT],
])('through %s', (_name, place) => {
  let proxy = 0;
  beforeAll(async () => {
    proxy = await place();
  });

  it.each([
    ['socks5h', 100_000],
    ['socks5h', 5_000_000],
    ['http', 100_000],
    ['http', 5_000_000],
  ])(
    'curl gets the answer of a server that rejects its upload without reading it (%s, %i bytes)',
    async (scheme, bytes) => {
      const file = join(await tempDir(), 'upload');
      await writeFile(file, Buffer.alloc(bytes, 7));
      const port = await refusingServer();
      const answers = await times(TIMES, () => upload(`${scheme}://127.0.0.1:${proxy}`, file, port));
      // curl gives up without a look at the answer where a send of its own fails first (55). Without a tunnel that
      // happens as well.
      const looked = answers.filter((answer) => !answer.endsWith(' 55'));
      expect(looked.length).toBeGreaterThan(TIMES / 2);
      expect(looked).toEqual(looked.map(() => '413 1000 0'));
    },
  );

  it.each(PROTOCOLS)('all that a target sent before it reset reaches the program (%s)', async (protocol) => {
    const port = await tcpServer(resetAfterAnswer);
    const ended = await times(TIMES, async () => endingOf(await asking(protocol, proxy, port)));
    expect(ended).toEqual(Array.from({ length: TIMES }, () => WHOLE));
  });

  it.each(PROTOCOLS)('all that a program sent before it reset reaches the target (%s)', async (protocol) => {
    const arrived: Promise<Ending>[] = [];
    const port = await tcpServer((socket) => {
      // The greeting that the program never reads.
      socket.write('220 hello\r\n');
      arrived.push(endingOf(socket));
    });
    await times(TIMES, async () => {
      const program = await connectThrough(protocol, proxy, port);
      await new Promise<void>((resolve) => program.write(SENT, () => resolve()));
      program.resetAndDestroy();
    });
    await expect.poll(() => arrived.length).toBe(TIMES);
    expect(await Promise.all(arrived)).toEqual(Array.from({ length: TIMES }, () => WHOLE));
  });

  it('a target that ends and then resets has ended cleanly, as without a tunnel', async () => {
    const port = await tcpServer((socket) => {
      socket.end(SENT);
      socket.once('data', () => socket.resetAndDestroy());
    });
    const received = await times(TIMES, async () => receive(await asking('SOCKS5', proxy, port)));
    expect(received).toEqual(Array.from({ length: TIMES }, () => ({ bytes: BYTES, hash: WHOLE.hash })));
  });
});

describe('through an exit with --rate 1mbit', () => {
  let proxy = 0;
  beforeAll(async () => {
    proxy = await SLOW_EXIT();
  });

  it.each(PROTOCOLS)(
    'all bytes before a reset arrive both ways through an exit with --rate (%s)',
    { timeout: 180_000 },
    async (protocol) => {
      const atTarget: Promise<Ending>[] = [];
      const resetting = await tcpServer(resetAfterAnswer);
      const reading = await tcpServer((socket) => void atTarget.push(endingOf(socket)));
      const atProgram = times(8, async () => endingOf(await asking(protocol, proxy, resetting)));
      await times(8, async () => sendAndReset(await connectThrough(protocol, proxy, reading)));
      await expect.poll(() => atTarget.length, { timeout: 30_000 }).toBe(8);
      expect(await Promise.all(atTarget)).toEqual(Array.from({ length: 8 }, () => WHOLE));
      expect(await atProgram).toEqual(Array.from({ length: 8 }, () => WHOLE));
    },
  );
});

describe('through a slow link that is aborted three times', () => {
  const MIB = 1024 * 1024;
  const LONG = payload(MIB, 4);
  const ALL: Ending = { bytes: MIB, hash: sha256(LONG), end: 'reset' };

  /** Resets once the other end's kernel has all. */
  async function sendAllAndReset(socket: Socket): Promise<void> {
    await new Promise<void>((resolve) => socket.write(LONG, () => resolve()));
    while (((await unacknowledgedBytes(socket)) ?? 0) > 0);
    socket.resetAndDestroy();
  }

  it('a reset waits for the bytes before it both ways on a slow link that is aborted three times', {
    timeout: 240_000,
  }, async () => {
    const { client, proxy } = await startChaos({ bytesPerSecond: 400_000, delayMs: 20 });
    const atTarget: Promise<Ending>[] = [];
    const resetting = await tcpServer((socket) => void socket.once('data', () => void sendAllAndReset(socket)));
    const reading = await tcpServer((socket) => void atTarget.push(endingOf(socket)));
    const atProgram = Promise.all(
      PROTOCOLS.map(async (protocol) => endingOf(await asking(protocol, client.port, resetting))),
    );
    for (const protocol of PROTOCOLS) await sendAllAndReset(await connectThrough(protocol, client.port, reading));
    let cuts = 0;
    const cutting = setInterval(() => {
      proxy.resetAll();
      cuts += 1;
      if (cuts === 3) clearInterval(cutting);
    }, 1_000);
    expect(await Promise.all([...atTarget, atProgram].flat())).toEqual([ALL, ALL, [ALL, ALL]]);
    clearInterval(cutting);
    expect(cuts).toBe(3);
  });
});
