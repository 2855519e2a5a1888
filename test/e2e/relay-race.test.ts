/**
 * Relays with the same keys and a named exit at all of them, as real processes: what a client does when the relay in use
 * is killed, is stopped, or comes back, and what it learns of others. test/figures/relay-gaps.test.ts measures the gaps.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { decodeInvite } from '../../src/crypto/invite.ts';
import { RelaysOfOneKey } from '../support/programs/relays-of-one-key.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import { invite, spawnClient, startClient } from '../support/programs/wstun-stack.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const LIMIT_MS = 300_000;
/** Of a gap, on a busy machine. */
const MOST_MS = 5_000;

describe('a client with several relays', () => {
  it('a relay that is killed or stopped costs no connection', { timeout: LIMIT_MS }, async () => {
    const { all, client, echoes } = await RelaysOfOneKey.withClient(3);
    const [first = '', second = '', third] = all.urls;
    const at = performance.now();
    await all.at(first).process.kill();
    await until(() => all.inUseBy(client) === second, 20_000);
    await echoes.more(50);
    all.at(second).process.signal('SIGSTOP');
    await until(() => all.inUseBy(client) === third, 20_000);
    await echoes.more(400);
    expect(await echoes.longestSince(at)).toBeLessThan(MOST_MS);
    all.at(second).process.signal('SIGCONT');
    const names = client.process.events.map(({ event }) => event);
    for (const name of ['session-lost', 'connected', 'limit']) expect(names).not.toContain(name);
    expect(names.filter((name) => name === 'lost').length).toBeLessThanOrEqual(1);
  });

  it('the first relay is returned to without a gap when it is there again', { timeout: LIMIT_MS }, async () => {
    const { all, client, echoes } = await RelaysOfOneKey.withClient(2);
    const [first = '', second] = all.urls;
    await all.at(first).process.kill();
    await until(() => all.inUseBy(client) === second, 20_000);
    await all.restart(first);
    await until(() => all.inUseBy(client) === first, 60_000);
    const at = performance.now();
    await echoes.more(100);
    // In virtual time (test/tunnel/several-relays.test.ts) it is less than 200 ms.
    expect(await echoes.longestSince(at - 1_000)).toBeLessThan(1_000);
    // A late link may be left before it is lost, on a busy machine.
    expect(client.process.events.filter(({ event }) => event === 'lost').length).toBeLessThanOrEqual(1);
  });

  it('a relay that is stopped at the start is passed over', { timeout: LIMIT_MS }, async () => {
    const all = await RelaysOfOneKey.start(2);
    const secret = await invite(all.exit, 'alice', { allow: ['127.0.0.1'] });
    all.at(all.urls[0] ?? '').process.signal('SIGSTOP');
    const { process: client } = await startClient(secret);
    // The relay that runs may not know the new name yet: then the client tries again, and says so.
    const told = client.events.filter(({ event }) => event === 'relay');
    expect(told).toMatchObject([{ failed: [], relay: all.urls[1] }]);
  });
});

describe('what an exit tells of relays', () => {
  it('a kept invite learns of a second relay, and a client starts with that alone', { timeout: LIMIT_MS }, async () => {
    const all = await RelaysOfOneKey.start(2);
    const [first = '', second = ''] = all.urls;
    const env = { XDG_STATE_HOME: await tempDir() };
    const secret = await invite(all.exit, 'alice', { allow: ['127.0.0.1'], urls: [first] });
    const client = spawnClient(secret, { args: ['--as', 'work', secret], env });
    expect(await client.event('relays')).toMatchObject({ relays: [first, second] });
    const kept = join(env.XDG_STATE_HOME, 'wstun/client/invites/work.invite');
    await until(() => existsSync(kept) && decodeInvite(readFileSync(kept, 'utf8')).relayUrls.length === 2, 20_000);
    expect(statSync(kept).mode & 0o777).toBe(0o600);
    client.signal('SIGTERM');
    await client.exited;
    const listed = JSON.parse((await wstun(['profiles', '--json'], { env })).stdout);
    expect(listed).toMatchObject([{ name: 'work', relays: [first, second], tried: true }]);
    await all.at(first).process.kill();
    const next = spawnClient('', { args: ['work'], env });
    await next.event('ready', 30_000);
    expect(next.events.find(({ event }) => event === 'relay')).toMatchObject({ relay: second });
    const { stdout } = await wstun(['status', '--json', '--state', join(env.XDG_STATE_HOME, 'wstun/client')], { env });
    expect(stdout).toContain(new URL(second).host);
    next.signal('SIGTERM');
    await next.exited;
    // The invite as it was given is the same one, which knows more by now.
    const again = spawnClient(secret, { args: ['--as', 'work', secret], env });
    await again.event('ready', 30_000);
    expect(again.stderr).not.toContain('replaced');
    expect(again.events.filter(({ event }) => event === 'relays')).toEqual([]);
  });
});
