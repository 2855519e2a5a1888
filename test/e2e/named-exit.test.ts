/** A relay that only forwards, an exit with its own access list, and clients of that exit, as real processes. */
import { readFile, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange, receive } from '../support/payload.ts';
import { run } from '../support/programs/programs.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import {
  invite,
  spawnClient,
  startBehindRelay,
  startClient,
  startExit,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { askSocks5, connectThrough, endOf, socks5Request, take } from '../support/proxy/through-proxy.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
const PROMISED_MS = 2_000;
/** What a client of an absent exit waits at most. */
const ABSENT_WAIT_MS = 22_500;

describe('a named exit', () => {
  it('a named exit serves clients that it invited itself: a page, and 16 MiB each way', {
    timeout: 180_000,
  }, async () => {
    const page = await tcpServer((socket) => {
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfrom home\n'));
    });
    const target = await tcpServer(echo);
    const { exit, relay } = await startBehindRelay();
    const client = await startClient(await invite(exit, 'alice', { allow: ['127.0.0.1'] }));
    const proxy = `socks5h://127.0.0.1:${client.port}`;
    expect(await run('curl', ['-sS', '-x', proxy, `http://127.0.0.1:${page}/`])).toMatchObject({
      code: 0,
      stdout: 'from home\n',
    });
    const { sent, received } = await exchange(await connectThrough('SOCKS5', client.port, target), 16 * MIB, 1);
    expect(received).toEqual({ bytes: 16 * MIB, hash: sent });
    expect(relay.process.stderr).toContain('"peer":"home/1"');
    expect(exit.process.stderr).toContain('"peer":"alice"');
  });

  it('a named exit applies its own policy, and ends the session of a removed client within 2 s and no other', async () => {
    const target = await tcpServer(echo);
    const { exit, relay } = await startBehindRelay();
    const secret = await invite(exit, 'alice', { allow: ['127.0.0.1'] });
    const alice = await startClient(secret);
    const bob = await startClient(await invite(exit, 'bob'));
    const { code, socket } = await askSocks5(bob.port, socks5Request('127.0.0.1', target));
    socket.destroy();
    expect(code).toBe(2);
    const ended = endOf(await connectThrough('SOCKS5', alice.port, target));

    expect(await wstun(['access', 'remove', 'alice', '--state', exit.state])).toMatchObject({ code: 0 });
    const start = performance.now();
    expect(await ended).toBe('reset');
    expect(performance.now() - start).toBeLessThan(PROMISED_MS);
    expect(await alice.process.event('session-lost')).toMatchObject({ code: 'WSTUN-E207' });
    // Until then the relay accepts its link, and only the exit rejects it.
    await until(() => relay.process.stderr.match(/"keys":\d+/g)?.at(-1) === '"keys":1');
    const again = spawnClient(secret, { args: ['--once'] });
    expect(await again.exited).toBe(77);
    expect(again.stderr).toContain('WSTUN-E202');
    // An exit announces one list a second: a name that is added right after another may be unknown once. Then nothing
    // disturbs it.
    const at = bob.process.events.findIndex(({ event }) => event === 'ready');
    expect(bob.process.events.slice(0, at).every(({ code }) => code === 'WSTUN-E202')).toBe(true);
    expect(bob.process.events.slice(at).map(({ event }) => event)).toEqual(['ready']);
  });

  it('a client says that its exit is absent, also after a restart of the relay, and finds it when it is back', async () => {
    const target = await tcpServer(echo);
    const { exit, relay } = await startBehindRelay();
    const secret = await invite(exit, 'alice', { allow: ['127.0.0.1'] });
    const client = await startClient(secret);
    await exit.process.kill();
    await client.process.event('lost');
    await until(() => client.process.events.some(({ code }) => code === 'WSTUN-E212'));
    expect((await askSocks5(client.port, socks5Request('127.0.0.1', target))).code).toBe(1);

    await relay.process.kill();
    const restarted = await startRelay({ state: relay.state, port: relay.port, args: ['--no-exit'] });
    const newcomer = spawnClient(secret);
    expect(await newcomer.event('retrying')).toMatchObject({ code: 'WSTUN-E212' });

    await startExit({ state: exit.state });
    await client.process.event('connected', ABSENT_WAIT_MS + 10_000);
    // Between the exit's return and the session there is one such wait, and a dial.
    // On a slow machine the outage lasts so long that it is said once more, by another event.
    const absent = client.process.events.filter(({ event, code }) => event === 'retrying' && code === 'WSTUN-E212');
    for (const { waitMs } of absent) expect(waitMs).toBeLessThanOrEqual(ABSENT_WAIT_MS);
    (await connectThrough('SOCKS5', client.port, target)).destroy();
    expect(restarted.process.stderr).toContain('exit registered');
  });

  it('an exit gives way to a newer one of its name, says so once, asks seldom, and comes back when that is gone', {
    timeout: 300_000,
  }, async () => {
    const target = await tcpServer(echo);
    const { exit: older, relay, registration } = await startBehindRelay();
    const newer = await startExit({ invite: registration });
    expect(await older.process.event('retrying')).toMatchObject({ code: 'WSTUN-E213' });
    const client = await startClient(await invite(newer, 'bob', { allow: ['127.0.0.1'] }));
    const held = await connectThrough('SOCKS5', client.port, target);
    // It has asked twice, and taken nothing.
    await until(() => relay.process.stderr.split('an exit waits, because').length > 2, 30_000);
    held.write('undisturbed');
    expect((await take(held, 11)).toString()).toBe('undisturbed');
    expect(newer.process.events.map(({ event }) => event)).toEqual(['ready']);
    held.destroy();
    newer.process.signal('SIGTERM');
    await older.process.event('connected', 100_000);
    const alice = await startClient(await invite(older, 'alice', { allow: ['127.0.0.1'] }));
    (await connectThrough('SOCKS5', alice.port, target)).destroy();
  });

  it('a second exit cannot start with the state directory of a running one; a crash frees the directory at once', async () => {
    const { exit, relay } = await startBehindRelay();
    const second = await wstun(['exit', '--state', exit.state]);
    expect(second).toMatchObject({ code: 69, stdout: '', stderr: expect.stringContaining('WSTUN-E225') });
    expect(second.stderr).toContain(`process ${exit.process.pid}`);
    expect(exit.process.events.map(({ event }) => event)).toEqual(['ready']);
    expect(relay.process.stderr.split('exit registered')).toHaveLength(2);
    await exit.process.kill();
    const third = await startExit({ state: exit.state });
    // One that drains is as good as gone.
    third.process.signal('SIGTERM');
    await third.process.exited;
    await startExit({ state: exit.state });
  });

  it('a relay that drains closes the links of a named exit and its clients at once, and lets a download of its own exit finish', async () => {
    const downloads: Socket[] = [];
    const target = await tcpServer((socket) => downloads.push(socket));
    const echoing = await tcpServer(echo);
    const relay = await startRelay();
    const own = await startClient(await invite(relay, 'own', { allow: ['127.0.0.1'] }));
    const exit = await startExit({ invite: await invite(relay, 'home', { role: 'exit' }) });
    const alice = await startClient(await invite(exit, 'alice', { allow: ['127.0.0.1'] }));
    const download = await connectThrough('SOCKS5', own.port, target);
    const received = receive(download);
    const held = await connectThrough('SOCKS5', alice.port, echoing);
    relay.process.signal('SIGTERM');
    expect(await alice.process.event('lost', 1_000)).toMatchObject({ streams: 1 });
    await exit.process.event('retrying', 1_000);
    downloads[0]?.end(Buffer.alloc(MIB));
    expect((await received).bytes).toBe(MIB);
    download.end();
    expect(await relay.process.exited).toBe(0);

    await startRelay({ state: relay.state, port: relay.port });
    const { sent, received: echoed } = await exchange(held, MIB);
    expect(echoed).toEqual({ bytes: MIB, hash: sent });
  });

  it('an exit that its relay removed is rejected with its clients; all keep trying, and come back when it is on the list again', async () => {
    const target = await tcpServer(echo);
    const { exit, relay } = await startBehindRelay();
    const client = await startClient(await invite(exit, 'alice', { allow: ['127.0.0.1'] }));
    const held = await connectThrough('SOCKS5', client.port, target);
    const file = join(relay.state, 'access.toml');
    const list = await readFile(file, 'utf8');
    expect(await wstun(['access', 'remove', 'home', '--state', relay.state])).toMatchObject({ code: 0 });
    await client.process.event('lost', PROMISED_MS);
    for (const { process } of [exit, client])
      await until(() => process.events.some(({ code }) => code === 'WSTUN-E202'), 10_000);
    await writeFile(file, list);
    await exit.process.event('connected', 20_000);
    await client.process.event('resumed', 20_000);
    held.write('held all the while');
    expect((await take(held, 18)).toString()).toBe('held all the while');
  });
});

describe('a relay that only forwards', () => {
  it('a relay that only forwards tells its own clients that there is no exit', async () => {
    const relay = await startRelay({ args: ['--no-exit'] });
    expect(relay.invite).toBeUndefined();
    const client = spawnClient(await invite(relay, 'alice'));
    expect(await client.event('retrying')).toMatchObject({ code: 'WSTUN-E212' });
  });
});

describe('invites', () => {
  it('an exit rejects the invite of a client, and a client that of an exit', async () => {
    const { exit, relay, registration } = await startBehindRelay();
    const forClient = await wstun(['exit', '--state', `${relay.state}/x`], {
      env: { WSTUN_INVITE: await invite(relay, 'alice') },
    });
    expect(forClient).toMatchObject({ code: 2, stderr: expect.stringContaining('WSTUN-E127') });
    const wrong = spawnClient(registration);
    expect(await wrong.exited).toBe(2);
    expect(wrong.stderr).toContain('WSTUN-E126');
    for (const [command, state] of [
      ['exit', relay.state],
      ['relay', exit.state],
    ] as const) {
      // biome-ignore format: two
      const misplaced = await wstun([command, '--state', state], { env: { WSTUN_INVITE: registration } });
      expect(misplaced).toMatchObject({ code: 78, stderr: expect.stringContaining('WSTUN-E111') });
    }
  });

  it('only the state directory of a relay issues invites for exits, and `wstun access list` shows roles', async () => {
    const { exit, relay } = await startBehindRelay();
    const refused = await wstun(['access', 'add', 'shed', '--role', 'exit', '--state', exit.state]);
    expect(refused).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('WSTUN-E101') });
    const { stdout } = await wstun(['access', 'list', '--json', '--state', relay.state]);
    expect(JSON.parse(stdout)).toEqual([{ name: 'home', role: 'exit', listen: [], allow: [] }]);
    expect((await wstun(['access', 'list', '--state', relay.state])).stdout).toBe('home  (exit)\n');
  });
});
