/**
 * What one name may use at most, with real traffic: a change of the list takes effect within two seconds, and touches
 * no other name.
 */
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import { invite, spawnClient, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import {
  askHttp,
  askSocks5,
  connectThrough,
  endOf,
  socks5Request,
  take,
  takeUntil,
} from '../support/proxy/through-proxy.ts';
import { edit, flood } from './access-edits.ts';

/** Of a client between two attempts, and what an attempt takes. */
const LONGEST_WAIT_MS = 35_000;

describe('the quota of a name', () => {
  it('a used up quota resets the streams of a name and rejects new ones with the reason, until it is raised; other names go on', async () => {
    const source = await tcpServer(flood);
    const target = await tcpServer(echo);
    const relay = await startRelay();
    const alice = await startClient(await invite(relay, 'alice', { allow: ['127.0.0.1'], quota: '3MB' }));
    const bob = await startClient(await invite(relay, 'bob', { allow: ['127.0.0.1'] }));
    const [hers, his] = [
      await connectThrough('SOCKS5', alice.port, source),
      await connectThrough('CONNECT', bob.port, target),
    ];
    expect(await endOf(hers)).toBe('reset');
    expect((await askSocks5(alice.port, socks5Request('127.0.0.1', target))).code).toBe(2);
    const refused = await askHttp(alice.port, `CONNECT 127.0.0.1:${target} HTTP/1.1\r\nHost: x`);
    expect(refused.status).toBe(403);
    expect(await takeUntil(refused.socket, '\n')).toContain('WSTUN-E313');
    his.write('moves');
    expect((await take(his, 5)).toString()).toBe('moves');

    await edit(relay, '"3MB"', '"1GB"');
    const again = await connectThrough('SOCKS5', alice.port, target);
    again.write('again');
    expect((await take(again, 5)).toString()).toBe('again');
    for (const socket of [again, his]) socket.destroy();

    relay.process.signal('SIGTERM');
    expect(await relay.process.exited).toBe(0);
    const { stdout } = await wstun(['access', 'list', '--json', '--state', relay.state]);
    const listed = JSON.parse(stdout) as { name: string; quota?: number; used?: number }[];
    const [entry] = listed.filter(({ name }) => name === 'alice');
    expect(entry?.quota).toBe(1_000_000_000);
    expect(entry?.used).toBeGreaterThanOrEqual(3_000_000);
    expect(listed.find(({ name }) => name === 'bob')?.used).toBe(10);
  });
});

describe('sessions of a name', () => {
  it('a session beyond the limit of a name is rejected with the reason, and accepted when another ends; other names go on', {
    timeout: 180_000,
  }, async () => {
    const target = await tcpServer(echo);
    const relay = await startRelay();
    const secret = await invite(relay, 'alice', { allow: ['127.0.0.1'], sessions: '2' });
    const first = await startClient(secret);
    const second = await startClient(secret);
    const third = spawnClient(secret);
    expect(await third.event('retrying')).toMatchObject({ code: 'WSTUN-E214' });
    expect(third.events.map(({ event }) => event)).not.toContain('ready');

    const bob = await startClient(await invite(relay, 'bob', { allow: ['127.0.0.1'] }));
    for (const { port } of [first, second, bob]) {
      const socket = await connectThrough('SOCKS5', port, target);
      socket.write('moves');
      expect((await take(socket, 5)).toString()).toBe('moves');
    }
    await second.process.kill();
    await third.event('ready', LONGEST_WAIT_MS);
    expect(first.process.events.map(({ event }) => event)).toEqual(['ready']);
  });
});
