/** The access list of a running relay: names that are removed, added or changed take effect without a restart. */
import { appendFile, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { run } from '../support/programs/programs.ts';
import { linesWith, wstun } from '../support/programs/wstun-process.ts';
import { invite, spawnClient, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { askSocks5, connectThrough, endOf, socks5Request, take } from '../support/proxy/through-proxy.ts';
import { until } from '../support/until.ts';

/** By which a change must have taken effect. */
const PROMISED_MS = 2_000;

/** Looks again and again, and says how long it took. */
async function timeUntil(holds: () => Promise<boolean>, limitMs: number): Promise<number> {
  const start = performance.now();
  while (performance.now() - start < limitMs) {
    if (await holds()) return performance.now() - start;
    await delay(10);
  }
  return Number.POSITIVE_INFINITY;
}

describe('a removed name', () => {
  it('a removed name loses its sessions within 2 s, its client ends with the reason after a minute, and no other name is touched', {
    timeout: 300_000,
  }, async () => {
    const target = await tcpServer(echo);
    const relay = await startRelay();
    const secret = await invite(relay, 'alice', { allow: ['127.0.0.1'] });
    const alice = await startClient(secret);
    const bob = await startClient(await invite(relay, 'bob', { allow: ['127.0.0.1'] }));
    const [hers, his] = [
      await connectThrough('SOCKS5', alice.port, target),
      await connectThrough('CONNECT', bob.port, target),
    ];
    const ended = endOf(hers);

    // The relay may act on the removal before the command has ended.
    const removing = performance.now();
    expect(await wstun(['access', 'remove', 'alice', '--state', relay.state])).toMatchObject({
      code: 0,
      stdout: '',
      stderr: '',
    });
    const start = performance.now();
    expect(await ended).toBe('reset');
    expect(performance.now() - start).toBeLessThan(PROMISED_MS);
    expect(await alice.process.event('session-lost', PROMISED_MS)).toMatchObject({ code: 'WSTUN-E207', streams: 1 });
    expect(await alice.process.event('retrying')).toMatchObject({ code: 'WSTUN-E202' });

    his.write('still here');
    expect((await take(his, 10)).toString()).toBe('still here');
    expect(bob.process.events.map(({ event }) => event)).toEqual(['ready']);

    // A 404 proves nothing: a client that starts with the invite now keeps trying, unless it has --once.
    const again = spawnClient(secret);
    const once = spawnClient(secret, { args: ['--once'] });
    expect(await once.exited).toBe(77);
    expect(once.events).toEqual([expect.objectContaining({ event: 'ended', code: 'WSTUN-E202' })]);
    expect(linesWith(once, 'WSTUN-E202')).toHaveLength(1);

    expect(await alice.process.event('ended', 90_000)).toMatchObject({ code: 'WSTUN-E207' });
    expect(performance.now() - removing).toBeGreaterThan(60_000);
    expect(await alice.process.exited).toBe(77);
    expect(linesWith(alice.process, 'WSTUN-E207')).toHaveLength(1);
    expect(await again.event('waiting')).toMatchObject({ code: 'WSTUN-E202' });
    again.signal('SIGTERM');
    expect(await again.exited).toBe(0);
  });

  it('a name that is off the list for a moment, as an editor may cause, costs its client the session and no more', async () => {
    const target = await tcpServer(echo);
    const relay = await startRelay();
    const alice = await startClient(await invite(relay, 'alice', { allow: ['127.0.0.1'] }));
    const file = join(relay.state, 'access.toml');
    const list = await readFile(file, 'utf8');
    await writeFile(file, '# being written\n');
    await alice.process.event('session-lost', 2 * PROMISED_MS);
    await alice.process.event('retrying');
    await writeFile(file, list);
    await alice.process.event('connected', 30_000);
    (await connectThrough('SOCKS5', alice.port, target)).destroy();
  });
});

describe('editing access.toml by hand', () => {
  it('an edit of access.toml opens a target within 2 s, and a mistake in it leaves the last good list in force', async () => {
    const target = await tcpServer(echo);
    const relay = await startRelay();
    const client = await startClient(await invite(relay, 'carol'));
    const file = join(relay.state, 'access.toml');
    const isOpen = async (port: number) => {
      const { code, socket } = await askSocks5(client.port, socks5Request('127.0.0.1', port));
      socket.destroy();
      return code === 0;
    };
    expect(await isOpen(target)).toBe(false);

    await appendFile(file, `allow = ["127.0.0.1:${target}"]\n`);
    expect(await timeUntil(() => isOpen(target), 2 * PROMISED_MS)).toBeLessThan(PROMISED_MS);

    const good = await readFile(file, 'utf8');
    await writeFile(file, `${good}allow = [oops\n`);
    expect(await timeUntil(async () => relay.process.stderr.includes('WSTUN-E113'), 2 * PROMISED_MS)).toBeLessThan(
      PROMISED_MS,
    );
    expect(await isOpen(target)).toBe(true);

    await writeFile(file, good.replace(`:${target}`, ':1'));
    expect(await timeUntil(async () => !(await isOpen(target)), 2 * PROMISED_MS)).toBeLessThan(PROMISED_MS);
    expect(client.process.events.map(({ event }) => event)).toEqual(['ready']);
  });
});

describe('an empty access.toml', () => {
  it.each(['', '\n \n'])(
    'an empty access.toml leaves the last good list in force, and the relay logs it once: %j',
    async (text) => {
      const target = await tcpServer(echo);
      const relay = await startRelay();
      const client = await startClient(await invite(relay, 'alice', { allow: ['127.0.0.1'] }));
      const held = await connectThrough('SOCKS5', client.port, target);
      await writeFile(join(relay.state, 'access.toml'), text);
      await until(() => relay.process.stderr.includes('WSTUN-E113'), 2 * PROMISED_MS);
      await delay(PROMISED_MS);
      held.write('still here');
      expect((await take(held, 10)).toString()).toBe('still here');
      expect(client.process.events.map(({ event }) => event)).toEqual(['ready']);
      expect(relay.process.stderr.split('WSTUN-E113')).toHaveLength(3);
      expect(relay.process.stderr).toContain('# nobody');
    },
  );
});

describe('wstun access set', () => {
  it('`wstun access set` takes effect within 2 s on a connected client, which keeps its invite and its session', async () => {
    const target = await tcpServer(echo);
    const relay = await startRelay();
    const secret = await invite(relay, 'dora', { allow: ['127.0.0.1:1'] });
    const client = await startClient(secret);
    const isOpen = async () => {
      const { code, socket } = await askSocks5(client.port, socks5Request('127.0.0.1', target));
      socket.destroy();
      return code === 0;
    };
    const set = (...args: string[]) => wstun(['access', 'set', 'dora', '--state', relay.state, ...args]);
    expect(await isOpen()).toBe(false);
    expect(await set('--allow', '127.0.0.1', '--rate', '50mbit')).toMatchObject({ code: 0, stdout: '', stderr: '' });
    expect(await timeUntil(isOpen, 2 * PROMISED_MS)).toBeLessThan(PROMISED_MS);
    expect(await set('--disallow', '127.0.0.1', '--rate', 'none', '--quota', '1GB')).toMatchObject({ code: 0 });
    expect(await timeUntil(async () => !(await isOpen()), 2 * PROMISED_MS)).toBeLessThan(PROMISED_MS);
    expect(await wstun(['access', 'list', '--state', relay.state])).toMatchObject({
      stdout: expect.stringMatching(/^dora {2}127\.0\.0\.1:1 {2}quota=1GB$/m),
    });
    expect(client.process.events.map(({ event }) => event)).toEqual(['ready']);
    await startClient(secret);
  });

  it('the errors about a closed target and a taken name advise `wstun access set`', async () => {
    const relay = await startRelay();
    const client = await startClient(relay.invite ?? '');
    const closed = await run('curl', ['-sS', '-x', `http://127.0.0.1:${client.port}`, 'http://10.1.2.3/']);
    expect(closed.stdout).toContain('WSTUN-E304');
    expect(closed.stdout).toContain('The owner of the exit allows more with: wstun access set NAME --allow RULE');
    const taken = await wstun(['access', 'add', 'default', '--allow', '10.0.0.0/8', '--state', relay.state]);
    expect(taken).toMatchObject({ code: 2, stderr: expect.stringMatching(/access set NAME.*WSTUN-E114/) });
    expect(taken.stderr).not.toContain('access remove');
    for (const args of [[], ['--allow', '10.0.0.0/64'], ['--rate', '20 parsecs'], ['--disallow', '10.0.0.0/8']])
      expect(await wstun(['access', 'set', 'default', '--state', relay.state, ...args])).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(/WSTUN-E10[19]/),
      });
  });
});

/** By a process of its own: of several at a time each must find the list as another has left it. */
async function addedByProgram(state: string, name: string): Promise<string> {
  const added = await wstun(['access', 'add', name, '--state', state, '--allow', '127.0.0.1']);
  expect(added).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^wstun1_[A-Za-z0-9_-]+\n$/) });
  return added.stdout.trim();
}

describe('wstun access add', () => {
  it('six names that are added at the same time are all on the list, and each works at once', async () => {
    const target = await tcpServer(echo);
    const relay = await startRelay();
    const names = ['n1', 'n2', 'n3', 'n4', 'n5', 'n6'];
    const invites = await Promise.all(names.map((name) => addedByProgram(relay.state, name)));
    const { stdout } = await wstun(['access', 'list', '--json', '--state', relay.state]);
    const listed = JSON.parse(stdout) as { name: string; allow: string[] }[];
    expect(new Set(listed.map(({ name }) => name))).toEqual(new Set(['default', ...names]));
    expect(listed.find(({ name }) => name === 'n1')?.allow).toEqual(['127.0.0.1']);
    for (const secret of [invites[0], invites[5]]) {
      const client = await startClient(secret ?? '');
      (await connectThrough('SOCKS5', client.port, target)).destroy();
    }
  });

  it('`wstun access add` fails at once where nothing can be written, and leaves no lock', async () => {
    const { state } = await startRelay();
    // No file can have a byte, as on a disk that is full.
    const within = ['bash', '-c', 'ulimit -f 0; exec "$@"', 'bash'];
    for (let i = 0; i < 2; i++) {
      const { code, stderr } = await wstun(['access', 'add', 'late', '--state', state], { within });
      expect([code, stderr]).toEqual([78, expect.stringContaining('WSTUN-E111')]);
      expect(await readdir(state)).not.toContain('.lock');
    }
  });
});
