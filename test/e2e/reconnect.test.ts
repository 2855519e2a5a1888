/** Links and processes that end: what programs see, and how soon they work again. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange, receive, sendEndlessly } from '../support/payload.ts';
import { run } from '../support/programs/programs.ts';
import { startRelay, startStack } from '../support/programs/wstun-stack.ts';
import {
  askSocks5,
  connectThrough,
  dial,
  endOf,
  type SocketEnd,
  socks5Request,
} from '../support/proxy/through-proxy.ts';

const MIB = 1024 * 1024;
/** Three attempts may fail while the relay starts on a busy machine: waits of up to 1, 3, 7 and 15 s (full jitter). */
const AGAIN_LIMIT_MS = 26_000;
/** How long a connection waits for a session. */
const SESSION_WAIT_MS = 10_000;

/** On a busy machine; draining may take 30 s. */
const AT_ONCE_MS = 2_000;

describe('a relay that is killed', () => {
  it('a killed relay resets every connection when it is back, and all works as before', {
    timeout: 180_000,
  }, async () => {
    const echoing = await tcpServer(echo);
    const sending = await tcpServer((socket) => sendEndlessly(socket));
    const { relay, client } = await startStack();
    const idle = await connectThrough('SOCKS5', client.port, echoing);
    const busy = await connectThrough('CONNECT', client.port, sending);
    busy.resume();
    await once(busy, 'data');
    const ends = Promise.all([endOf(idle), endOf(busy)]);

    await relay.process.kill();
    expect(await client.process.event('lost')).toMatchObject({ streams: 2 });

    // A connection that comes while there is no relay waits for it.
    const early = askSocks5(client.port, socks5Request('127.0.0.1', echoing));
    const restarted = await startRelay({ state: relay.state, port: relay.port });
    expect(restarted.invite).toBeUndefined();
    expect(await client.process.event('session-lost', AGAIN_LIMIT_MS)).toMatchObject({
      code: 'WSTUN-E432',
      streams: 2,
    });
    expect(await client.process.event('connected', AGAIN_LIMIT_MS)).toMatchObject({ streamsLost: 2 });
    expect(await ends).toEqual(['reset', 'reset']);
    // The answer is `general failure` only where the client waited for longer than a connection does, by chance.
    const waits = client.process.events.map(({ waitMs }) => Number(waitMs ?? 0));
    const isWaitShort = waits.reduce((sum, wait) => sum + wait, 0) < SESSION_WAIT_MS / 2;
    expect((await early).code).toBeOneOf(isWaitShort ? [0] : [0, 1]);
    const socket = await connectThrough('SOCKS5', client.port, echoing);
    const { sent, received } = await exchange(socket, MIB);
    expect(received).toEqual({ bytes: MIB, hash: sent });
  });

  it('a client dials a killed relay again and again, and tells the reason and the wait each time', async () => {
    const { relay, client } = await startStack();
    await relay.process.kill();
    await client.process.event('lost');
    for (let i = 0; i < 2; i++) {
      const retrying = await client.process.event('retrying');
      expect(retrying).toMatchObject({ code: expect.stringMatching(/^WSTUN-E20[15]$/), waitMs: expect.any(Number) });
    }
    client.process.signal('SIGTERM');
    expect(await client.process.exited).toBe(0);
  });
});

describe('SIGTERM without a session', () => {
  it('SIGTERM ends a client without a session at once, whether the programs that wait are still there or gone', async () => {
    const { relay, client } = await startStack();
    await relay.process.kill();
    await client.process.event('lost');
    const url = 'http://127.0.0.1:1/';
    const proxy = `127.0.0.1:${client.port}`;
    const gone = await Promise.all([
      run('curl', ['-s', '-m', '1', '-x', `socks5h://${proxy}`, url]),
      run('curl', ['-s', '-m', '1', '-x', `http://${proxy}`, url]),
    ]);
    // Timed out.
    expect(gone.map(({ code }) => code)).toEqual([28, 28]);
    const waiting = [
      run('curl', ['-s', '-x', `socks5h://${proxy}`, url]),
      run('curl', ['-s', '-w', '%{http_code}', '-o', '/dev/null', '-x', `http://${proxy}`, url]),
    ];
    // They have asked, and the second before is over.
    await delay(1_000);
    const since = performance.now();
    client.process.signal('SIGTERM');
    expect(await client.process.exited).toBe(0);
    // Those that are gone would have waited for 8 s more, those that are there for 9.
    expect(performance.now() - since).toBeLessThan(5_000);
    const [socks, http] = await Promise.all(waiting);
    expect([socks?.code, http?.stdout]).toEqual([97, '503']);
  });
});

describe('SIGTERM', () => {
  it.each(['relay', 'client'] as const)(
    'SIGTERM lets a download through the %s finish, and closes its port',
    async (which) => {
      const downloads: Socket[] = [];
      const target = await tcpServer((download) => {
        download.write('begun');
        downloads.push(download);
      });
      const stack = await startStack();
      const socket = await connectThrough('SOCKS5', stack.client.port, target);
      const received = receive(socket);
      await once(socket, 'data');

      const { process, port } = stack[which];
      process.signal('SIGTERM');
      // It has begun to drain when its port is closed.
      await expect
        .poll(
          () =>
            dial(port).then(
              () => 'open',
              () => 'closed',
            ),
          { timeout: 30_000 },
        )
        .toBe('closed');
      downloads[0]?.end(Buffer.alloc(8 * MIB, 1));
      expect((await received).bytes).toBe(5 + 8 * MIB);
      socket.end();
      expect(await process.exited).toBe(0);
    },
  );

  it.each([
    ['relay', 'SIGTERM', 143],
    ['relay', 'SIGINT', 130],
    ['client', 'SIGTERM', 143],
    ['client', 'SIGINT', 130],
  ] as const)(
    'a second signal ends the %s at once (%s), and no connection looks complete',
    async (which, signal, code) => {
      const atTarget: Promise<SocketEnd>[] = [];
      const target = await tcpServer((accepted) => atTarget.push(endOf(accepted)));
      const stack = await startStack();
      const atProgram = endOf(await connectThrough('SOCKS5', stack.client.port, target));
      const { process, port } = stack[which];
      process.signal(signal);
      await expect
        .poll(
          () =>
            dial(port).then(
              () => 'open',
              () => 'closed',
            ),
          { timeout: 30_000 },
        )
        .toBe('closed');
      const start = performance.now();
      process.signal(signal);
      expect(await process.exited).toBe(code);
      expect(performance.now() - start).toBeLessThan(AT_ONCE_MS);
      expect([await atProgram, await atTarget[0]]).toEqual(['reset', 'reset']);
    },
  );
});
