/**
 * Signals to the two ends while a page carries links: what page, programs and the other end see, and when the process
 * has ended.
 */
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough, dial, endOf, take } from '../support/proxy/through-proxy.ts';
import { type Scripted, startScripted } from '../support/tether/tethered.ts';
import { until } from '../support/until.ts';

/** Of a WebSocket (RFC 6455 §7.4.1). */
const NORMAL = 1000;
const GOING_AWAY = 1001;
/** With nothing to be drained. */
const AT_ONCE_MS = 2_000;
/** docs/limits.md: goodbye. */
const GOODBYE_MS = 5_000;
/** docs/limits.md: cut after the second signal. */
const CUT_MS = 500;
/** A busy machine. */
const SLACK_MS = 2_000;

async function expectMoving(socket: Socket): Promise<void> {
  socket.write('moves');
  expect((await take(socket, 5)).toString()).toBe('moves');
}

function refuses(port: number): Promise<boolean> {
  return dial(port).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
  );
}

function tetherPort({ client }: Scripted): number {
  const code = client.events.find(({ event }) => event === 'tether-code');
  return Number(new URL(String(code?.url)).port);
}

describe('SIGTERM for a client with a phone', () => {
  it('SIGTERM ends a client with a phone at once, and tells the page and the relay', async () => {
    const tethered = await startScripted();
    const { relay, client, page } = tethered;
    const since = performance.now();
    client.signal('SIGTERM');
    expect(await client.exited).toBe(0);
    expect(performance.now() - since).toBeLessThan(AT_ONCE_MS);
    expect(await refuses(tetherPort(tethered))).toBe(true);
    await until(() => page.controlEnd !== undefined);
    expect(page.controlEnd).toBe(GOING_AWAY);
    expect(page.links.map(({ localClose }) => localClose)).toEqual([NORMAL]);
    await until(() => /session ended|lost its link/.test(relay.process.stderr));
    expect(relay.process.stderr).toContain('"fault":"session-closed"');
  });

  it('SIGTERM lets connections through a phone end first, and accepts no new ones', async () => {
    const tethered = await startScripted();
    const { client, port, page } = tethered;
    const socket = await connectThrough('SOCKS5', port, await tcpServer(echo));
    client.signal('SIGTERM');
    await expect.poll(() => refuses(port)).toBe(true);
    await expectMoving(socket);
    expect(page.controlEnd).toBeUndefined();
    socket.end();
    expect(await endOf(socket)).toBe('end');
    expect(await client.exited).toBe(0);
    expect(await refuses(tetherPort(tethered))).toBe(true);
    await until(() => page.controlEnd !== undefined);
    expect(page.controlEnd).toBe(GOING_AWAY);
  });

  it('a second SIGTERM resets what is left of connections through a phone, and still closes the page’s link', async () => {
    const { client, port, page } = await startScripted();
    const socket = await connectThrough('SOCKS5', port, await tcpServer(echo));
    client.signal('SIGTERM');
    await expect.poll(() => refuses(port)).toBe(true);
    await expectMoving(socket);
    const ended = endOf(socket);
    const since = performance.now();
    client.signal('SIGTERM');
    expect(await ended).toBe('reset');
    expect(await client.exited).toBe(143);
    expect(performance.now() - since).toBeLessThan(CUT_MS + SLACK_MS);
    await until(() => page.controlEnd !== undefined);
    expect(page.controlEnd).toBe(GOING_AWAY);
  });

  it('SIGTERM ends a client whose phone is frozen', async () => {
    const { client, page } = await startScripted();
    page.freeze();
    const since = performance.now();
    client.signal('SIGTERM');
    expect(await client.exited).toBe(0);
    expect(performance.now() - since).toBeLessThan(GOODBYE_MS + SLACK_MS);
  });
});

describe('SIGTERM for the relay of a client with a phone', () => {
  it('SIGTERM lets a relay’s connections through a phone end, and the same page finds the restarted relay', {
    timeout: 180_000,
  }, async () => {
    const { relay, client, port, page } = await startScripted();
    const target = await tcpServer(echo);
    const socket = await connectThrough('SOCKS5', port, target);
    relay.process.signal('SIGTERM');
    await client.event('tether-offline');
    await expectMoving(socket);
    socket.end();
    expect(await endOf(socket)).toBe('end');
    const since = performance.now();
    expect(await relay.process.exited).toBe(0);
    expect(performance.now() - since).toBeLessThan(AT_ONCE_MS);
    await until(() => page.links[0]?.upstreamClose !== undefined);
    expect(page.links[0]).toMatchObject({ upstreamClose: NORMAL, localClose: NORMAL });
    expect(page.controlEnd).toBeUndefined();
    await startRelay({ state: relay.state, port: relay.port });
    await expectMoving(await connectThrough('SOCKS5', port, target));
  });
});
