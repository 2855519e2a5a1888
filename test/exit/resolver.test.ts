import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatIp } from '../../src/exit/ip.ts';
import { createResolver, type Resolver } from '../../src/exit/resolver.ts';
import { type DnsServer, startDnsServer } from '../support/dns-server.ts';

let dns: DnsServer;
let dir = '';
let now = 0;
let resolver: Resolver;

beforeEach(async () => {
  dns = await startDnsServer({
    'www.example': { addresses: ['192.0.2.1', '192.0.2.2', '2001:db8::1'], ttl: 60 },
    'v4.example': { addresses: ['192.0.2.4'] },
    'empty.example': {},
    'broken.example': { fault: 'SERVFAIL' },
    'silent.example': { silent: ['A', 'AAAA'] },
    'half.example': { addresses: ['192.0.2.5'], silent: ['AAAA'] },
    'rebind.example': { addresses: ['192.0.2.6'], ttl: 0 },
  });
  dir = mkdtempSync(join(tmpdir(), 'wstun-resolver-'));
  writeFileSync(join(dir, 'hosts'), '10.0.0.7 myhost v4.example\n');
  now = 0;
  resolver = createResolver({ servers: [dns.address], hostsFile: join(dir, 'hosts'), now: () => now });
});

afterEach(async () => {
  await dns.close();
  rmSync(dir, { recursive: true });
});

const resolve = async (name: string, signal = new AbortController().signal) =>
  (await resolver.resolve(name, signal)).map(formatIp);
const fault = (name: string) => expect.objectContaining({ fault: name }) as unknown;
const sorted = (texts: readonly string[]) => texts.toSorted((a, b) => (a < b ? -1 : 1));
const settled = <T>(promise: Promise<T>) => promise.then(String, (error) => String(error.fault));

describe('a name', () => {
  it('has its AAAA and A addresses, asked for once each and exactly as it is', async () => {
    expect(sorted(await resolve('www.example'))).toEqual(['192.0.2.1', '192.0.2.2', '2001:db8::1']);
    expect(sorted(dns.questions)).toEqual(['A www.example', 'AAAA www.example']);
  });

  it('without a dot gets no search domain', async () => {
    await expect(resolve('nothing')).rejects.toEqual(fault('dial-name-unknown'));
    expect(sorted(dns.questions)).toEqual(['A nothing', 'AAAA nothing']);
  });

  it('in the hosts file is not asked for', async () => {
    expect(await resolve('myhost')).toEqual(['10.0.0.7']);
    expect(await resolve('v4.example')).toEqual(['10.0.0.7']);
    expect(dns.questions).toEqual([]);
  });

  it('localhost, and all below it, is loopback without a question', async () => {
    expect(await resolve('localhost')).toEqual(['::1', '127.0.0.1']);
    expect(await resolve('a.b.localhost')).toEqual(['::1', '127.0.0.1']);
    expect(dns.questions).toEqual([]);
  });

  it('that does not exist is unknown; one without addresses, or that the server fails on, has failed', async () => {
    await expect(resolve('nothing.example')).rejects.toEqual(fault('dial-name-unknown'));
    await expect(resolve('empty.example')).rejects.toEqual(fault('dial-name-failed'));
    await expect(resolve('broken.example')).rejects.toEqual(fault('dial-name-failed'));
  });

  it('nobody answers for has failed within 5 s', async () => {
    const start = performance.now();
    await expect(resolve('silent.example')).rejects.toEqual(fault('dial-name-failed'));
    expect(performance.now() - start).toBeLessThan(8_000);
  });

  it('with one family answered waits 1 s for the other and is content', async () => {
    const start = performance.now();
    expect(await resolve('half.example')).toEqual(['192.0.2.5']);
    expect(performance.now() - start).toBeLessThan(4_000);
  });

  it('does not wait for others: eight that nobody answers for hold up nothing', async () => {
    const abort = new AbortController();
    const slow = Array.from({ length: 8 }, (_, i) => {
      dns.zone.set(`tar${i}.example`, { silent: ['A', 'AAAA'] });
      return settled(resolve(`tar${i}.example`, abort.signal));
    });
    const start = performance.now();
    await resolve('www.example');
    expect(performance.now() - start).toBeLessThan(4_000);
    abort.abort();
    expect(await Promise.all(slow)).toEqual(new Array(8).fill('dial-cancelled'));
  });
});

describe('the cache', () => {
  it('answers until the TTL is over', async () => {
    await resolve('www.example');
    now = 59_999;
    await resolve('www.example');
    expect(dns.questions).toHaveLength(2);
    now = 60_000;
    await resolve('www.example');
    expect(dns.questions).toHaveLength(4);
  });

  it('remembers that a name does not exist, for 10 s', async () => {
    for (now of [0, 9_999, 10_000])
      await expect(resolve('nothing.example')).rejects.toEqual(fault('dial-name-unknown'));
    expect(dns.questions).toHaveLength(4);
  });

  it('holds a TTL of 0 for 5 s, then sees the other address', async () => {
    expect(await resolve('rebind.example')).toEqual(['192.0.2.6']);
    dns.zone.set('rebind.example', { addresses: ['127.0.0.1'], ttl: 0 });
    now = 4_999;
    expect(await resolve('rebind.example')).toEqual(['192.0.2.6']);
    now = 5_000;
    expect(await resolve('rebind.example')).toEqual(['127.0.0.1']);
  });
});

describe('a look-up under way', () => {
  it('is shared by all who want the name', async () => {
    await Promise.all(Array.from({ length: 20 }, () => resolve('www.example')));
    expect(dns.questions).toHaveLength(2);
  });

  it('goes on when one of them gives up', async () => {
    const abort = new AbortController();
    const [first, second] = [settled(resolve('www.example', abort.signal)), settled(resolve('www.example'))];
    abort.abort();
    expect(await first).toBe('dial-cancelled');
    expect(await second).toContain('192.0.2.1');
  });

  it('is cancelled when all have given up, is no answer then, and the next begins anew', async () => {
    const abort = new AbortController();
    const all = [1, 2].map(() => settled(resolve('silent.example', abort.signal)));
    abort.abort();
    expect(await Promise.all(all)).toEqual(['dial-cancelled', 'dial-cancelled']);
    dns.zone.set('silent.example', { addresses: ['192.0.2.9'] });
    expect(await resolve('silent.example')).toEqual(['192.0.2.9']);
  });

  it('is not begun for one who has given up already', async () => {
    await expect(resolve('www.example', AbortSignal.abort())).rejects.toEqual(fault('dial-cancelled'));
    expect(dns.questions).toEqual([]);
  });
});

it('a name server that is no address is a bad option', () => {
  expect(() => createResolver({ servers: ['dns.example'] })).toThrow(fault('bad-option'));
});
