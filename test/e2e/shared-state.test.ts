/**
 * Two relays with one state directory, as while one replaces the other: what a name uses at both counts once, and
 * together.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { decodeInvite, encodeInvite } from '../../src/crypto/invite.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import {
  invite,
  type RunningClient,
  type RunningRelay,
  startClient,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { askSocks5, connectThrough, endOf, socks5Request } from '../support/proxy/through-proxy.ts';

/** docs/operations.md: by which one relay knows what the other has counted. */
const PROMISED_MS = 2_000;
const MB = 1_000_000;

/** A client of the first relay's invite at the second. */
async function clientAt({ url }: RunningRelay, secret: string): Promise<RunningClient> {
  return startClient(encodeInvite({ ...decodeInvite(secret), relayUrls: [url] }));
}

/** Both ways together. */
async function use({ port }: RunningClient, target: number, bytes: number): Promise<void> {
  const socket = await connectThrough('SOCKS5', port, target);
  const { sent, received } = await exchange(socket, bytes / 2);
  expect(received.hash).toBe(sent);
}

async function usedOnDisk({ state }: RunningRelay): Promise<number | undefined> {
  const text = await readFile(join(state, 'usage.json'), 'utf8').catch(() => '{}');
  return (JSON.parse(text) as { bytes?: Record<string, number> }).bytes?.alice;
}

async function replyFor({ port }: RunningClient, target: number): Promise<number> {
  return (await askSocks5(port, socks5Request('127.0.0.1', target))).code;
}

describe('a quota at two relays with one state directory', () => {
  it('two relays with one state directory count a quota together within two seconds, and forget nothing', {
    timeout: 180_000,
  }, async () => {
    const target = await tcpServer(echo);
    const first = await startRelay();
    const secret = await invite(first, 'alice', { allow: ['*'], quota: '8MB' });
    const second = await startRelay({ state: first.state });
    const [here, there] = [await startClient(secret), await clientAt(second, secret)];
    const held = await connectThrough('SOCKS5', here.port, target);
    await use(here, target, 2 * MB);
    await use(there, target, 3 * MB);
    await use(here, target, MB);
    const soon = { timeout: PROMISED_MS };
    await expect.poll(() => usedOnDisk(first), soon).toBe(6 * MB);

    await use(there, target, 2 * MB - 2);
    await expect.poll(() => usedOnDisk(first), soon).toBe(8 * MB - 2);
    const last = await connectThrough('SOCKS5', there.port, target);
    last.write('x');
    expect(await endOf(last)).toBe('reset');
    expect(await replyFor(there, target)).toBe(2);
    await expect.poll(() => replyFor(here, target), soon).toBe(2);
    const ended = endOf(held);
    held.write('x');
    expect(await ended).toBe('reset');

    // One is killed, the other ends as documented.
    await expect.poll(() => usedOnDisk(first), soon).toBe(8 * MB + 1);
    await second.process.kill();
    first.process.signal('SIGTERM');
    expect(await first.process.exited).toBe(0);
    expect(await usedOnDisk(first)).toBe(8 * MB + 1);
  });
});
