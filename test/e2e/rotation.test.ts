/** `wstun keys rotate` while all runs: clients with an old invite are told why it fails, and others notice nothing. */
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { linesWith, type WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import {
  invite,
  type RunningClient,
  spawnClient,
  startBehindRelay,
  startClient,
  startExit,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { connectThrough, endOf, take } from '../support/proxy/through-proxy.ts';
import { until } from '../support/until.ts';

/** By which live sessions have ended, and the keys are in force. */
const PROMISED_MS = 2_000;
const ALLOW = { allow: ['127.0.0.1'] };

async function rotate(of: { readonly state: string }, ...args: readonly string[]): Promise<string[]> {
  const { code, stdout, stderr } = await wstun(['keys', 'rotate', '--state', of.state, ...args]);
  expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining('wstun access renew NAME') });
  return stdout.trim().split('\n');
}

async function renew(of: { readonly state: string }, name: string): Promise<string> {
  const { code, stdout } = await wstun(['access', 'renew', name, '--state', of.state]);
  expect(code).toBe(0);
  return stdout.trim();
}

async function expectToEnd(process: WstunProcess, code: string): Promise<void> {
  expect(await process.exited).toBe(77);
  // Once, however many things it ended.
  expect(linesWith(process, code)).toHaveLength(1);
  expect(process.events.at(-1)).toMatchObject({ event: 'ended', code });
}

/** Not only that it is there: bytes come back. */
async function expectToWork({ port }: RunningClient, target: number): Promise<void> {
  const socket = await connectThrough('SOCKS5', port, target);
  socket.write('moves');
  expect((await take(socket, 5)).toString()).toBe('moves');
  socket.destroy();
}

describe('rotated keys of a relay', () => {
  it('rotated keys of a relay end sessions within 2 s, old invites are told why they fail, and renewed ones work', {
    // Sixteen processes, one after the other.
    timeout: 180_000,
  }, async () => {
    const target = await tcpServer(echo);
    const relay = await startRelay();
    const old = await invite(relay, 'alice', ALLOW);
    const removed = await invite(relay, 'carol');
    const alice = await startClient(old);
    const ended = endOf(await connectThrough('SOCKS5', alice.port, target));
    expect(await rotate(relay)).toEqual(['default', 'alice', 'carol']);
    const start = performance.now();
    expect(await ended).toBe('reset');
    expect(performance.now() - start).toBeLessThan(PROMISED_MS);
    await expectToEnd(alice.process, 'WSTUN-E215');

    await expectToWork(await startClient(await renew(relay, 'alice')), target);
    await expectToEnd(spawnClient(old), 'WSTUN-E215');
    // A removed name is a stranger, with any invite.
    expect(await wstun(['access', 'remove', 'carol', '--state', relay.state])).toMatchObject({ code: 0 });
    await expectToEnd(spawnClient(removed, { args: ['--once'] }), 'WSTUN-E202');

    // The reason outlives a restart, and another rotation.
    await rotate(relay);
    await relay.process.kill();
    await startRelay({ state: relay.state, port: relay.port });
    await expectToEnd(spawnClient(old), 'WSTUN-E215');
  });

  it('rotated keys of a relay revoke registrations of exits and invites of their clients, and the relay tells both why', async () => {
    const target = await tcpServer(echo);
    const { relay, exit } = await startBehindRelay();
    const old = await invite(exit, 'alice', ALLOW);
    const alice = await startClient(old);
    expect(await rotate(relay)).toEqual(['home']);
    await Promise.all([expectToEnd(exit.process, 'WSTUN-E215'), expectToEnd(alice.process, 'WSTUN-E215')]);

    const again = await startExit({ state: exit.state, invite: await renew(relay, 'home') });
    await expectToWork(await startClient(await renew(again, 'alice')), target);
    await expectToEnd(spawnClient(old), 'WSTUN-E215');
  });

  it('a relay whose keys were rotated with --forget answers old invites like strangers', async () => {
    const relay = await startRelay();
    const old = await invite(relay, 'alice');
    await rotate(relay, '--forget');
    await until(() => relay.process.stderr.includes('the keys were rotated'), PROMISED_MS);
    await expectToEnd(spawnClient(old, { args: ['--once'] }), 'WSTUN-E202');
  });
});

describe('rotated keys of a named exit', () => {
  it('rotated keys of a named exit end only its own clients, which are told so under the keys that they pin', async () => {
    const target = await tcpServer(echo);
    const relay = await startRelay();
    const exit = await startExit({ invite: await invite(relay, 'home', { role: 'exit' }) });
    const bob = await startClient(await invite(relay, 'bob', ALLOW));
    const old = await invite(exit, 'alice', ALLOW);
    const alice = await startClient(old);
    const his = await connectThrough('SOCKS5', bob.port, target);
    const ended = endOf(await connectThrough('SOCKS5', alice.port, target));
    expect(await rotate(exit)).toEqual(['alice']);
    const start = performance.now();
    expect(await ended).toBe('reset');
    expect(performance.now() - start).toBeLessThan(PROMISED_MS);
    await expectToEnd(alice.process, 'WSTUN-E215');

    await expectToWork(await startClient(await renew(exit, 'alice')), target);
    await expectToEnd(spawnClient(old), 'WSTUN-E215');
    his.write('still here');
    expect((await take(his, 10)).toString()).toBe('still here');
    expect(bob.process.events.map(({ event }) => event)).toEqual(['ready']);
    expect(exit.process.events.map(({ event }) => event)).toEqual(['ready']);
  });
});
