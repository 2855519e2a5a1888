/**
 * A session survives its links, also with a phone: nothing is lost when the page is reloaded, closed or replaced.
 */
import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { startPhoneNetwork } from '../support/net/phone-network.ts';
import { slowProxy } from '../support/net/slow-proxy.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { chunks, payload, receive, sendPayload, sha256 } from '../support/payload.ts';
import { run } from '../support/programs/programs.ts';
import { invite, spawnClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough, take } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { Phone, shareBrowser, spawnChromium } from '../support/tether/phone.ts';
import { nextCode, startTethered, type Tethered } from '../support/tether/tethered.ts';
import { until } from '../support/until.ts';

shareBrowser();

const MIB = 1024 * 1024;
/** So that transfers last longer than the disturbance. */
const FAR_LEG_BITS = 40_000_000;
const BACK_WITHIN_MS = 3_000;
/** A minute of reloads on a long run: WSTUN_LONG=1 npx vitest run test/e2e/tether-resume.test.ts */
const RELOADS = process.env.WSTUN_LONG === undefined ? 3 : 20;

async function start(): Promise<Tethered> {
  return await startTethered({
    relayUrl: async (relay) => `ws://127.0.0.1:${await slowProxy(relay.port, FAR_LEG_BITS)}`,
  });
}

/** Echoes a byte every 20 ms for as long as the socket lives; when the last one came back. */
function beat(socket: Socket): { lastAt: number } {
  const state = { lastAt: performance.now() };
  void (async () => {
    for (let i = 0; !socket.destroyed; i++) {
      socket.write(Uint8Array.of(i & 255));
      const [byte] = await take(socket, 1);
      if (byte !== (i & 255)) throw new Error('another byte came back');
      state.lastAt = performance.now();
      await delay(20);
    }
  })().catch(() => {});
  return state;
}

/** How long after now the next echo comes back, ms. */
async function untilBeat(state: { readonly lastAt: number }): Promise<number> {
  const since = performance.now();
  while (state.lastAt < since) {
    if (performance.now() - since > 20_000) throw new Error('no echo for 20 s');
    await delay(5);
  }
  return state.lastAt - since;
}

/**
 * Both ways at once, so long that the disturbance comes in between. The hashes that were sent and that arrived must be
 * equal.
 */
async function transfer({ port }: Tethered, bytes: number): Promise<void> {
  const uploads: Promise<unknown>[] = [];
  const sink = await tcpServer((socket) => uploads.push(receive(socket)));
  const source = await tcpServer((socket) => uploads.push(sendPayload(socket, bytes, 2)));
  const down = await connectThrough('SOCKS5', port, source);
  const sentDown = uploads.at(-1);
  const up = await connectThrough('SOCKS5', port, sink);
  const [got, sent] = await Promise.all([receive(down), sendPayload(up, bytes, 1)]);
  expect(got).toEqual({ bytes, hash: await sentDown });
  expect(await uploads.at(-1)).toEqual({ bytes, hash: sent });
}

/** About 20 s long. */
async function sendSlowly(socket: Socket, bytes: number): Promise<void> {
  for (const chunk of chunks(bytes, 2)) {
    socket.write(chunk);
    await delay(200);
  }
  socket.end();
}

describe('connections through a phone', () => {
  it(`connections through a phone survive ${RELOADS} reloads of its page, 3 s apart, and go on within 3 s each time`, {
    timeout: 240_000,
  }, async () => {
    const tethered = await start();
    const pulse = beat(await connectThrough('SOCKS5', tethered.port, await tcpServer(echo)));
    const transferred = transfer(tethered, RELOADS * 10 * MIB);
    for (let i = 0; i < RELOADS; i++) {
      await delay(3_000);
      await tethered.page.reload();
      await tethered.page.until('active');
      expect(await untilBeat(pulse)).toBeLessThan(BACK_WITHIN_MS);
    }
    await transferred;
  });

  it('connections through a phone survive that its page is closed, and opened again with a new code', {
    timeout: 300_000,
  }, async () => {
    const tethered = await start();
    const pulse = beat(await connectThrough('SOCKS5', tethered.port, await tcpServer(echo)));
    const transferred = transfer(tethered, 12 * MIB);
    await untilBeat(pulse);
    await tethered.page.close();
    tethered.client.type('\n');
    const code = await nextCode(tethered.client);
    await delay(5_000);
    const page = await tethered.phone.open(code);
    await page.until('active');
    expect(await untilBeat(pulse)).toBeLessThan(BACK_WITHIN_MS);
    await transferred;
  });

  it('connections through a phone survive that it has no network for 20 s', { timeout: 300_000 }, async () => {
    const network = await startPhoneNetwork();
    const relay = await startRelay({ args: ['--listen', `${network.relayAddress}:0`] });
    const url = `ws://${String(relay.process.events[0]?.listen).split(',').at(-1)}`;
    const client = spawnClient(await invite(relay, 'laptop', { allow: ['*'], url }), {
      within: network.laptop.within,
      args: ['--tether', '--listen', '127.0.0.1:1080'],
    });
    const code = await nextCode(client);
    await spawnChromium([code], { within: network.phone.within });
    await client.event('ready', 20_000);
    const bytes = 24 * MIB;
    const source = await tcpServer((socket) => void sendSlowly(socket, bytes));
    const args = [
      '-q',
      '-sS',
      '-x',
      'socks5h://127.0.0.1:1080',
      '--http0.9',
      `http://127.0.0.1:${source}/`,
      '-o',
      'got',
    ];
    const cwd = await tempDir();
    const fetched = run('curl', args, { within: network.laptop.within, cwd, limitMs: 100_000 });
    const got = () => statSync(join(cwd, 'got'), { throwIfNoEntry: false })?.size ?? 0;
    await until(() => got() > MIB, 20_000);
    await network.setPhone('down');
    await delay(20_000);
    await network.setPhone('up');
    const since = performance.now();
    await client.event('resumed', 20_000);
    // The network itself, ARP and TCP of the browser, takes a part of it.
    expect(performance.now() - since).toBeLessThan(BACK_WITHIN_MS);
    expect(await fetched).toMatchObject({ code: 0, stderr: '' });
    expect(sha256(await readFile(join(cwd, 'got')))).toBe(sha256(payload(bytes, 2)));
  });

  it('connections survive the loss of the active phone: the other takes over within two seconds', {
    timeout: 300_000,
  }, async () => {
    const tethered = await start();
    tethered.client.type('\n');
    const other = await Phone.start();
    const page = await other.open(await nextCode(tethered.client));
    await page.until('active');
    const pulse = beat(await connectThrough('SOCKS5', tethered.port, await tcpServer(echo)));
    const transferred = transfer(tethered, 12 * MIB);
    await untilBeat(pulse);
    await page.close();
    const since = performance.now();
    await tethered.page.until('active');
    await untilBeat(pulse);
    expect(performance.now() - since).toBeLessThan(2_000);
    await transferred;
  });
});
