/** Ports at an exit: who may open which, and what becomes of them when the access list changes. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { freePort } from '../support/programs/programs.ts';
import { type WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import {
  invite,
  type RunningRelay,
  spawnClient,
  startBehindRelay,
  startRelay,
} from '../support/programs/wstun-stack.ts';

/** By which a change must have taken effect. */
const PROMISED_MS = 2_000;

/** A client that asks for a port at its exit, and what it says of it first. */
async function forward(secret: string, text: string): Promise<{ process: WstunProcess; first: object }> {
  const process = spawnClient(secret, { args: ['-R', text] });
  return { process, first: await process.event('remote-forward', 30_000) };
}

function set(relay: RunningRelay, name: string, ...args: string[]) {
  return wstun(['access', 'set', name, '--state', relay.state, ...args]);
}

async function saysBack(socket: Socket, text: string): Promise<void> {
  socket.write(text);
  expect(String((await once(socket, 'data'))[0])).toBe(text);
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  const outcome = await new Promise((resolve) =>
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false)),
  );
  socket.destroy();
  return outcome === true;
}

describe('a port at the relay’s own exit', () => {
  it('opens by a rule, and is closed within 2 s when the rule is removed; what it had accepted goes on', async () => {
    const [target, port] = [await tcpServer(echo), await freePort()];
    const relay = await startRelay();
    const secret = await invite(relay, 'alice');
    const { process, first } = await forward(secret, `${port}:127.0.0.1:${target}`);
    expect(first).toMatchObject({ state: 'refused', code: 'WSTUN-E315' });
    expect(await set(relay, 'alice', '--listen', `127.0.0.1:${port}`)).toMatchObject({ code: 0, stderr: '' });
    expect(await process.event('remote-forward', 30_000)).toMatchObject({ state: 'listening' });
    const held = connect(port, '127.0.0.1');
    await saysBack(held, 'before');
    const start = performance.now();
    expect(await set(relay, 'alice', '--no-listen', `127.0.0.1:${port}`)).toMatchObject({ code: 0, stderr: '' });
    expect(await process.event('remote-forward', 30_000)).toMatchObject({ state: 'lost', code: 'WSTUN-E315' });
    expect(performance.now() - start).toBeLessThan(PROMISED_MS + 1_000);
    expect(await isOpen(port)).toBe(false);
    await saysBack(held, 'after');
    held.destroy();
  });

  it('is the first client’s: the second is told so, and has it when the first has ended', async () => {
    const [target, port] = [await tcpServer(echo), await freePort()];
    const relay = await startRelay();
    const rule = { listen: [`127.0.0.1:${port}`] };
    const [alice, bob] = [await invite(relay, 'alice', rule), await invite(relay, 'bob', rule)];
    const one = await forward(alice, `${port}:127.0.0.1:${target}`);
    expect(one.first).toMatchObject({ state: 'listening' });
    const two = await forward(bob, `${port}:127.0.0.1:${target}`);
    expect(two.first).toMatchObject({ state: 'refused', code: 'WSTUN-E316' });
    one.process.signal('SIGTERM');
    expect(await one.process.exited).toBe(0);
    expect(await two.process.event('remote-forward', 60_000)).toMatchObject({ state: 'listening' });
    const socket = connect(port, '127.0.0.1');
    await saysBack(socket, 'hello');
    socket.destroy();
  });

  it('is its client’s again soon after that was killed and started again', async () => {
    const [target, port] = [await tcpServer(echo), await freePort()];
    const relay = await startRelay();
    const secret = await invite(relay, 'alice', { listen: [`127.0.0.1:${port}`] });
    const killed = await forward(secret, `${port}:127.0.0.1:${target}`);
    expect(killed.first).toMatchObject({ state: 'listening' });
    killed.process.signal('SIGKILL');
    await killed.process.exited;
    const { process, first } = await forward(secret, `${port}:127.0.0.1:${target}`);
    const start = performance.now();
    if ('code' in first) expect(await process.event('remote-forward', 60_000)).toMatchObject({ state: 'listening' });
    expect(performance.now() - start).toBeLessThan(30_000);
    const socket = connect(port, '127.0.0.1');
    await saysBack(socket, 'hello');
    socket.destroy();
  });

  it.each<[string, (relay: RunningRelay) => { listen: string; forward: string }]>([
    ['a port below 1024 that no rule names', () => ({ listen: '127.0.0.1:*', forward: '1023:127.0.0.1:1' })],
    ['all addresses without permission', () => ({ listen: '127.0.0.1:*', forward: '0.0.0.0:18080:127.0.0.1:1' })],
    ['the port of the relay', ({ port }) => ({ listen: '*:*', forward: `0.0.0.0:${port}:127.0.0.1:1` })],
  ])('is refused at %s', async (_what, wanted) => {
    const relay = await startRelay();
    const { listen, forward: text } = wanted(relay);
    const { first } = await forward(await invite(relay, 'alice', { listen: [listen] }), text);
    expect(first).toMatchObject({ state: 'refused', code: 'WSTUN-E315' });
  });
});

it('a named exit opens ports by its own access list', async () => {
  const [target, port] = [await tcpServer(echo), await freePort()];
  const { exit } = await startBehindRelay();
  const secret = await invite(exit, 'alice', { listen: [`127.0.0.1:${port}`] });
  const { first } = await forward(secret, `${port}:127.0.0.1:${target}`);
  expect(first).toMatchObject({ state: 'listening' });
  const socket = connect(port, '127.0.0.1');
  await saysBack(socket, 'hello');
  socket.destroy();
});
