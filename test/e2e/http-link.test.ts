/** A client whose links are carried by HTTP requests, through what lets no WebSocket pass, or cuts every request. */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startHoldingFront } from '../support/links/http-pair.ts';
import { startChaosProxy } from '../support/net/chaos-proxy.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { prng } from '../support/prng.ts';
import { startNginx } from '../support/programs/nginx.ts';
import { invite, type RunningClient, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';

const HTTP = { args: ['--transport', 'http'] };
/** 4 MB on a long run: WSTUN_LONG=1 npx vitest run test/e2e/http-link.test.ts */
const STREAM_BYTES = process.env.WSTUN_LONG === undefined ? 500_000 : 4_000_000;
const SEED = 17;

async function exchangeAll(client: RunningClient, streams: number, bytes: number): Promise<void> {
  const target = await tcpServer(echo);
  const one = async (_: unknown, lane: number): Promise<void> => {
    const socket = await connectThrough('SOCKS5', client.port, target);
    const { sent, received } = await exchange(socket, bytes, lane);
    expect(received).toEqual({ bytes, hash: sent });
  };
  await Promise.all(Array.from({ length: streams }, one));
}

/** A client of a new relay, with the URL that `front` makes of the relay's port. */
async function clientBehind(front: (relayPort: number) => Promise<string>): Promise<RunningClient> {
  const relay = await startRelay();
  const url = await front(relay.port);
  return await startClient(await invite(relay, 'tester', { allow: ['*'], url }), HTTP);
}

async function nginxWith(relayPort: number, lines = ''): Promise<string> {
  const nginx = await startNginx(`location /x/ { proxy_pass http://127.0.0.1:${relayPort}; ${lines} }`);
  return `ws://127.0.0.1:${nginx.port}/x`;
}

describe('an HTTP link', () => {
  it(`32 connections lose no byte while every request is cut again and again (seed ${SEED})`, {
    timeout: process.env.WSTUN_LONG === undefined ? 90_000 : 300_000,
  }, async () => {
    const relay = await startRelay();
    const proxy = await startChaosProxy({ target: { host: '127.0.0.1', port: relay.port }, seed: SEED });
    const url = `ws://127.0.0.1:${proxy.port}`;
    const client = await startClient(await invite(relay, 'tester', { allow: ['*'], url }), HTTP);
    const random = prng(SEED);
    let cuts = 0;
    let over = false;
    const cutter = (async () => {
      while (!over) {
        await delay(50 + random.below(350));
        proxy.resetAll();
        cuts += 1;
      }
    })();
    await exchangeAll(client, 32, STREAM_BYTES);
    over = true;
    await cutter;
    expect(cuts).toBeGreaterThan(2);
    const ends = client.process.events.filter(({ event }) => event === 'session-lost' || event === 'link-lost');
    expect(ends).toEqual([]);
  });

  it('an HTTP link passes nginx with its default settings, which drop a WebSocket', async () => {
    await exchangeAll(await clientBehind((port) => nginxWith(port)), 4, 1_000_000);
  });

  it('an HTTP link passes nginx that buffers answers whatever the relay says', async () => {
    const lines =
      'proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; proxy_buffer_size 16k; proxy_buffers 8 64k;';
    await exchangeAll(await clientBehind((port) => nginxWith(port, lines)), 4, 1_000_000);
  });

  it('an HTTP link passes an inspector that holds requests and answers until they are complete', {
    timeout: 300_000,
  }, async () => {
    const client = await clientBehind(async (port) => {
      const front = await startHoldingFront(port);
      onTestFinished(() => front.close());
      return front.url;
    });
    await exchangeAll(client, 4, 300_000);
  });

  it.each(['plain', 'with an upstream'])(
    'an upload and a download by an HTTP link end while the relay drains (%s)',
    {
      timeout: 120_000,
    },
    async (kind) => {
      const site = await tcpServer((socket) => socket.resume());
      const relay = await startRelay({ args: kind === 'plain' ? [] : ['--decoy', `http://127.0.0.1:${site}`] });
      const client = await startClient(await invite(relay, 'tester', { allow: ['*'] }), HTTP);
      let isBegun = false;
      const target = await tcpServer((socket) =>
        socket.once('readable', () => {
          isBegun = true;
          relay.process.signal('SIGTERM');
          // All of it, and its echo, pass while the relay drains.
          setTimeout(() => echo(socket), 700);
        }),
      );
      const socket = await connectThrough('SOCKS5', client.port, target);
      const { sent, received } = await exchange(socket, 6_000_000, 1);
      expect({ isBegun, ...received }).toEqual({ isBegun: true, bytes: 6_000_000, hash: sent });
      await relay.process.exited;
      expect(client.process.events.filter(({ event }) => event === 'session-lost')).toEqual([]);
    },
  );

  it('an HTTP link outlives a front end that ends each request after a second', { timeout: 120_000 }, async () => {
    const client = await clientBehind((port) => nginxWith(port, 'proxy_read_timeout 1s; keepalive_timeout 1s;'));
    for (let i = 0; i < 3; i++) {
      await exchangeAll(client, 1, 100_000);
      await delay(1_500);
    }
    expect(client.process.events.filter(({ event }) => event === 'session-lost')).toEqual([]);
  });
});
