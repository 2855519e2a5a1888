/** A relay of several worker processes, as real processes: what one process does, and what happens when a worker dies. */

import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { PATIENCE } from '../support/patience.ts';
import { exchange } from '../support/payload.ts';
import { holdSocket } from '../support/programs/socket-holder.ts';
import { bothServe, childrenOf, directoryOf, killWorker } from '../support/programs/worker-processes.ts';
import { linesWith, wstun } from '../support/programs/wstun-process.ts';
import {
  invite,
  type RunningClient,
  type RunningRelay,
  startClient,
  startExit,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { connectThrough, endOf, take } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
const TWO = ['--workers', '2'];
const ALLOW = { allow: ['127.0.0.1'] };
const BACK_MS = 1_000 * PATIENCE;

async function startTwoWorkers(args: readonly string[] = []): Promise<RunningRelay> {
  const relay = await startRelay({ args: [...TWO, ...args] });
  await bothServe(relay);
  return relay;
}

/** Kills one of the workers. */
function killOne(relay: RunningRelay): void {
  const [pid] = childrenOf(relay.process.pid);
  process.kill(pid ?? 0, 'SIGKILL');
}

async function expectEcho({ port }: RunningClient, target: number): Promise<void> {
  const socket = await connectThrough('SOCKS5', port, target);
  socket.write('moves');
  expect((await take(socket, 5)).toString()).toBe('moves');
  socket.destroy();
}

/** By a control socket, as `wstun status` asks. */
async function statusOf({ state }: { readonly state: string }): Promise<Record<string, unknown>> {
  const { stdout } = await wstun(['status', '--json', '--state', state]);
  return JSON.parse(stdout.trim().split('\n')[0] ?? '{}') as Record<string, unknown>;
}

describe('a relay of two workers', () => {
  it('a relay of two workers serves its own exit and named exits, whichever worker each connection comes to', {
    timeout: 180_000,
  }, async () => {
    const target = await tcpServer(echo);
    const relay = await startTwoWorkers();
    const exit = await startExit({ invite: await invite(relay, 'home', { role: 'exit' }) });
    const own = await invite(relay, 'alice', ALLOW);
    const named = await invite(exit, 'bob', ALLOW);
    const clients = await Promise.all([own, own, own, named, named, named].map((secret) => startClient(secret)));
    for (const client of clients) {
      const { sent, received } = await exchange(await connectThrough('SOCKS5', client.port, target), 2 * MIB, 1);
      expect(received).toEqual({ bytes: 2 * MIB, hash: sent });
    }
    expect(await statusOf(relay)).toMatchObject({ role: 'relay', exits: [{ name: 'home' }], peerCount: 4 });
  });

  it('a client at a worker gets through HTTP requests that come to the other one, too', {
    timeout: 120_000,
  }, async () => {
    const target = await tcpServer(echo);
    const relay = await startTwoWorkers();
    const client = await startClient(await invite(relay, 'alice', ALLOW), { args: ['--transport', 'http'] });
    const { sent, received } = await exchange(await connectThrough('SOCKS5', client.port, target), 4 * MIB, 1);
    expect(received).toEqual({ bytes: 4 * MIB, hash: sent });
  });

  it('when a worker is killed, sessions of a named exit resume within a second and lose no byte', {
    timeout: 240_000,
  }, async () => {
    const target = await tcpServer(echo);
    const relay = await startTwoWorkers(['--no-exit']);
    const exit = await startExit({ invite: await invite(relay, 'home', { role: 'exit' }) });
    const secret = await invite(exit, 'alice', { ...ALLOW, sessions: '16' });
    const clients = await Promise.all(Array.from({ length: 6 }, () => startClient(secret)));
    const sockets = await Promise.all(clients.map(({ port }) => connectThrough('SOCKS5', port, target)));
    for (const round of [0, 1]) {
      killOne(relay);
      const since = performance.now();
      await Promise.all(
        sockets.map(async (socket) => {
          socket.write(`still ${round}`);
          expect((await take(socket, 7)).toString()).toBe(`still ${round}`);
        }),
      );
      expect(performance.now() - since).toBeLessThan(BACK_MS);
      await until(() => relay.process.events.filter(({ state }) => state === 'died').length === round + 1);
      await bothServe(relay);
    }
    const lost = clients.flatMap(({ process: { events } }) => events.filter(({ event }) => event === 'session-lost'));
    expect(lost).toEqual([]);
  });

  it('workers that were replaced know the clients of an exit that is at another one', {
    timeout: 120_000,
  }, async () => {
    const relay = await startTwoWorkers(['--no-exit', '--verbose']);
    const exit = await startExit({ invite: await invite(relay, 'home', { role: 'exit' }) });
    const secret = await invite(exit, 'alice', ALLOW);
    await (await startClient(secret)).process.kill();
    // Before the exit had announced it.
    const before = linesWith(relay.process, 'request was rejected');
    for (const number of [0, 1]) {
      killWorker(relay, number);
      await until(() => relay.process.events.filter(({ state }) => state === 'died').length === number + 1);
      await bothServe(relay);
    }
    await Promise.all([0, 1, 2, 3, 4, 5].map(() => startClient(secret)));
    expect(linesWith(relay.process, 'request was rejected')).toEqual(before);
  });

  it('a session of the relay’s own exit resumes at its worker after its link was cut', {
    timeout: 120_000,
  }, async () => {
    const target = await tcpServer(echo);
    const relay = await startTwoWorkers();
    const client = await startClient(await invite(relay, 'alice', ALLOW));
    const socket = await connectThrough('SOCKS5', client.port, target);
    for (let round = 0; round < 6; round++) {
      client.process.signal('SIGHUP');
      await until(() => (relay.process.stderr.match(/session resumed/g)?.length ?? 0) > round);
      socket.write(`round ${round}`);
      expect((await take(socket, 7)).toString()).toBe(`round ${round}`);
    }
    // Connections come to the workers in turn, so some of these links came to the other one.
    expect(client.process.events.filter(({ event }) => event === 'session-lost')).toEqual([]);
  });

  it('a name has no more sessions in both workers than it may have', { timeout: 120_000 }, async () => {
    const relay = await startTwoWorkers();
    const secret = await invite(relay, 'alice', { sessions: '3' });
    await Promise.all([0, 1, 2].map(() => startClient(secret)));
    await expect(startClient(secret, { args: ['--once'] })).rejects.toThrow('WSTUN-E');
  });

  it('keys that are rotated end sessions at both workers, and SIGTERM ends all processes', {
    timeout: 120_000,
  }, async () => {
    const target = await tcpServer(echo);
    const relay = await startTwoWorkers();
    const secret = await invite(relay, 'alice', ALLOW);
    const clients = await Promise.all([0, 1, 2, 3].map(() => startClient(secret)));
    const ends = clients.map(async ({ port }) => endOf(await connectThrough('SOCKS5', port, target)));
    expect(await wstun(['keys', 'rotate', '--yes', '--state', relay.state])).toMatchObject({ code: 0 });
    expect(await Promise.all(ends)).toEqual(['reset', 'reset', 'reset', 'reset']);
    const renewed = await wstun(['access', 'renew', 'alice', '--yes', '--state', relay.state]);
    await until(() => (relay.process.stderr.match(/the keys were rotated/g)?.length ?? 0) === 2);
    await expectEcho(await startClient(renewed.stdout.trim()), target);
    const workers = childrenOf(relay.process.pid);
    relay.process.signal('SIGTERM');
    expect(await relay.process.exited).toBe(0);
    await until(() => workers.every((pid) => !readdirSync('/proc').includes(String(pid))));
  });

  it('a program hears once that the configuration was read again', { timeout: 120_000 }, async () => {
    const config = join(await tempDir(), 'wstun.toml');
    await writeFile(config, '');
    const relay = await startTwoWorkers(['--config', config]);
    relay.process.signal('SIGHUP');
    expect(await relay.process.event('config')).toMatchObject({ path: config, changed: [], restart: [] });
    await until(() => (relay.process.stderr.match(/was read again/g)?.length ?? 0) === 2);
    expect(relay.process.events.filter(({ event }) => event === 'config')).toHaveLength(1);
  });

  it('while the configuration has a mistake a relay serves on without the worker that died', {
    timeout: 120_000,
  }, async () => {
    const config = join(await tempDir(), 'wstun.toml');
    await writeFile(config, '');
    const relay = await startTwoWorkers(['--config', config]);
    const { events } = relay.process;
    await writeFile(config, '[relay]\ndecoy = 5\n');
    killOne(relay);
    await until(() => events.filter(({ state }) => state === 'died').length >= 2, 20_000);
    await writeFile(config, '');
    await until(() => events.filter(({ state }) => state === 'serving').length === 2, 20_000);
    expect(events.filter(({ event }) => event === 'ended')).toEqual([]);
  });

  it('workers whose parent was killed end, and leave no directory', { timeout: 120_000 }, async () => {
    const relay = await startTwoWorkers();
    const workers = childrenOf(relay.process.pid);
    const directory = directoryOf(workers[0] ?? 0);
    expect(existsSync(directory)).toBe(true);
    relay.process.signal('SIGKILL');
    await until(() => workers.every((pid) => !readdirSync('/proc').includes(String(pid))));
    expect(existsSync(directory)).toBe(false);
  });

  it('a client that crashed gets in again at once, whichever worker has its old session', {
    timeout: 120_000,
  }, async () => {
    const relay = await startTwoWorkers();
    const secret = await invite(relay, 'alice', { sessions: '1' });
    for (let round = 0; round < 6; round++) {
      const client = await startClient(secret, { args: ['--once'] });
      client.process.signal('SIGKILL');
      await until(() => (relay.process.stderr.match(/session lost its link/g)?.length ?? 0) > round);
    }
  });

  it('the metrics of two workers are shown together, and what was counted stays when one dies', {
    timeout: 120_000,
  }, async () => {
    const target = await tcpServer(echo);
    const relay = await startTwoWorkers(['--admin', '127.0.0.1:0']);
    const ready = relay.process.events.find(({ event }) => event === 'ready');
    const read = async (page: string): Promise<string> => (await fetch(`http://${ready?.admin}/${page}`)).text();
    const secret = await invite(relay, 'alice', ALLOW);
    const clients = await Promise.all([0, 1, 2, 3].map(() => startClient(secret)));
    for (const client of clients) await expectEcho(client, target);
    const sumOf = (text: string, name: string) =>
      [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))].reduce(
        (sum, [, value]) => sum + Number(value),
        0,
      );
    expect(sumOf(await read('metrics'), 'wstun_sessions')).toBe(4);
    const opened = sumOf(await read('metrics'), 'wstun_streams_opened_total');
    expect(opened).toBe(4);
    killOne(relay);
    await until(() => relay.process.events.some(({ state }) => state === 'died'));
    expect(sumOf(await read('metrics'), 'wstun_streams_opened_total')).toBeGreaterThanOrEqual(opened);
    await until(() => relay.process.events.some(({ state }) => state === 'serving'));
    expect([await read('healthz'), await read('readyz')]).toEqual(['ok\n', 'ready\n']);
  });

  it('two workers listen on a passed socket, which another program keeps open while they restart', {
    timeout: 120_000,
  }, async () => {
    const target = await tcpServer(echo);
    const holder = await holdSocket();
    const args = [...TWO, '--state', await tempDir(), '--url', `ws://127.0.0.1:${holder.port}`];
    const pid = await holder.relay(args);
    const of = { state: args[3] ?? '' };
    const secret = await invite(of, 'alice', ALLOW);
    await expectEcho(await startClient(secret), target);
    process.kill(pid, 'SIGTERM');
    expect(await holder.exited()).toBe(0);
    // Nobody accepts now; the kernel still connects.
    const waiting = connect(holder.port, '127.0.0.1');
    await once(waiting, 'connect');
    waiting.destroy();
    await holder.relay(args);
    await expectEcho(await startClient(secret), target);
  });

  it('a relay of two workers that is told twice to end resets its streams, and ends without an error', {
    timeout: 120_000,
  }, async () => {
    const target = await tcpServer(echo);
    const relay = await startTwoWorkers();
    const secret = await invite(relay, 'alice', ALLOW);
    const clients = await Promise.all([0, 1, 2, 3].map(() => startClient(secret)));
    const sockets = await Promise.all(clients.map(({ port }) => connectThrough('SOCKS5', port, target)));
    const ends = sockets.map((socket) => endOf(socket));
    const workers = childrenOf(relay.process.pid);
    relay.process.signal('SIGTERM');
    await relay.process.event('closing');
    relay.process.signal('SIGTERM');
    expect(await relay.process.exited).toBe(143);
    expect(await Promise.all(ends)).toEqual(['reset', 'reset', 'reset', 'reset']);
    await until(() => workers.every((pid) => !readdirSync('/proc').includes(String(pid))));
    expect(relay.process.stderr).not.toMatch(/ERR_|Error/);
  });

  it('two workers on a passed socket that die at once end the relay, and the next one takes the socket', {
    timeout: 120_000,
  }, async () => {
    const holder = await holdSocket();
    const args = [...TWO, '--state', await tempDir(), '--url', `ws://127.0.0.1:${holder.port}`];
    const pid = await holder.relay(args);
    const second = (of: number) => () => holder.process.events.filter(({ state }) => state === 'serving').length === of;
    await until(second(1), 20_000);
    for (const worker of childrenOf(pid)) process.kill(worker, 'SIGKILL');
    expect(await holder.exited()).toBe(69);
    await holder.relay(args);
    const socket = connect(holder.port, '127.0.0.1');
    await once(socket, 'connect');
    socket.destroy();
    // One whose parent is killed while Node starts it writes a stack trace.
    await until(second(2), 20_000);
  });

  it('a relay of two workers that cannot start says why, once, and leaves no process', async () => {
    const taken = await tcpServer(echo);
    const args = ['--listen', `127.0.0.1:${taken}`, '--state', join(await tempDir(), 'state')];
    const { code, stderr } = await wstun(['relay', ...TWO, ...args]);
    expect({ code, stderr }).toEqual({ code: 69, stderr: expect.stringContaining('WSTUN-E1') });
    expect(stderr.match(/WSTUN-E/g)).toHaveLength(1);
  });

  it('a connection is never refused while workers die', { timeout: 120_000 }, async () => {
    const relay = await startTwoWorkers();
    const counts = { open: 0, refused: 0 };
    for (let round = 0; round < 3; round++) {
      killOne(relay);
      for (let i = 0; i < 50; i++) {
        const socket = connect(relay.port, '127.0.0.1');
        const outcome = await new Promise<'open' | 'refused'>((resolve) => {
          socket.once('connect', () => resolve('open'));
          socket.once('error', () => resolve('refused'));
        });
        counts[outcome] += 1;
        socket.destroy();
      }
      await until(() => relay.process.events.filter(({ state }) => state === 'died').length === round + 1);
      await bothServe(relay);
    }
    expect(counts).toEqual({ open: 150, refused: 0 });
  });
});
