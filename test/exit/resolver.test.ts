import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createResolver, type Resolver } from '../../src/exit/resolver.ts';
import { formatIp } from '../../src/net/ip.ts';
import { type DnsServer, startDnsServer } from '../support/net/dns-server.ts';

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
  resolver = resolverWith({ LOCALDOMAIN: '' });
});

afterEach(async () => {
  await dns.close();
  rmSync(dir, { recursive: true });
});

function resolverWith(env: Record<string, string> = {}): Resolver {
  return createResolver({
    servers: [dns.address],
    hostsFile: join(dir, 'hosts'),
    resolvConf: join(dir, 'resolv.conf'),
    search: { env, hostname: 'exit' },
    now: () => now,
  });
}

const resolve = async (name: string, signal = new AbortController().signal) =>
  (await resolver.resolve(resolver.fullNamesOf(name), signal)).addresses.map(formatIp);
const fault = (name: string) => expect.objectContaining({ fault: name }) as unknown;
const sorted = (texts: readonly string[]) => texts.toSorted((a, b) => (a < b ? -1 : 1));
const settled = <T>(promise: Promise<T>) => promise.then(String, (error) => String(error.fault));

describe('a name', () => {
  it('the resolver returns the AAAA and A addresses of a name, each asked for once and exactly as written', async () => {
    expect(sorted(await resolve('www.example'))).toEqual(['192.0.2.1', '192.0.2.2', '2001:db8::1']);
    expect(sorted(dns.questions)).toEqual(['A www.example', 'AAAA www.example']);
  });

  it('the resolver asks for a name without a dot as it is if there is no search domain', async () => {
    await expect(resolve('nothing')).rejects.toEqual(fault('dial-name-unknown'));
    expect(sorted(dns.questions)).toEqual(['A nothing', 'AAAA nothing']);
  });

  it('the resolver does not ask for a name in the hosts file', async () => {
    expect(await resolve('myhost')).toEqual(['10.0.0.7']);
    expect(await resolve('v4.example')).toEqual(['10.0.0.7']);
    expect(dns.questions).toEqual([]);
  });

  it('the resolver takes localhost and all below it for loopback, without a query', async () => {
    expect(await resolve('localhost')).toEqual(['::1', '127.0.0.1']);
    expect(await resolve('a.b.localhost')).toEqual(['::1', '127.0.0.1']);
    expect(dns.questions).toEqual([]);
  });

  it('the resolver distinguishes an unknown name from one without addresses and from a failing server', async () => {
    await expect(resolve('nothing.example')).rejects.toEqual(fault('dial-name-unknown'));
    await expect(resolve('empty.example')).rejects.toEqual(fault('dial-name-failed'));
    await expect(resolve('broken.example')).rejects.toEqual(fault('dial-name-failed'));
  });

  it('the resolver fails within 5 s if no server answers', { tags: ['waits'] }, async () => {
    const start = performance.now();
    await expect(resolve('silent.example')).rejects.toEqual(fault('dial-name-failed'));
    expect(performance.now() - start).toBeLessThan(8_000);
  });

  it('the resolver waits 1 s for the second family, and then returns the first', { tags: ['waits'] }, async () => {
    const start = performance.now();
    expect(await resolve('half.example')).toEqual(['192.0.2.5']);
    expect(performance.now() - start).toBeLessThan(4_000);
  });

  it('the resolver does not delay a name for eight others without an answer', async () => {
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

describe('a name below search domains', () => {
  const asked = () => [...new Set(dns.questions.map((question) => question.split(' ')[1]))];
  const search = (line: string) => writeFileSync(join(dir, 'resolv.conf'), `${line}\n`);

  beforeEach(() => {
    dns.zone.set('wiki.b.example', { addresses: ['10.0.0.1'] });
    resolver = resolverWith();
    search('search a.example b.example c.example');
  });

  it('the resolver tries search domains in order until one has the name', async () => {
    expect(await resolve('wiki')).toEqual(['10.0.0.1']);
    expect(asked()).toEqual(['wiki.a.example', 'wiki.b.example']);
    expect(await resolver.resolve(['wiki.a.example', 'wiki.b.example'], new AbortController().signal)).toMatchObject({
      name: 'wiki.b.example',
    });
  });

  it('the resolver reports a name as unknown if no full name exists', async () => {
    await expect(resolve('nothing')).rejects.toEqual(fault('dial-name-unknown'));
    expect(asked()).toEqual(['nothing.a.example', 'nothing.b.example', 'nothing.c.example', 'nothing']);
  });

  it('the resolver caches each answer under its full name, as the search list may change', async () => {
    await resolve('wiki');
    await resolve('wiki');
    expect(dns.questions).toHaveLength(4);
    search('search c.example');
    now = 5_000;
    await expect(resolve('wiki')).rejects.toEqual(fault('dial-name-unknown'));
    expect(asked()).toEqual(['wiki.a.example', 'wiki.b.example', 'wiki.c.example', 'wiki']);
    expect(await resolve('wiki.b.example')).toEqual(['10.0.0.1']);
    expect(dns.questions).toHaveLength(8);
  });

  it('the resolver does not ask for full names if the hosts file has the name', async () => {
    expect(await resolve('myhost')).toEqual(['10.0.0.7']);
    expect(dns.questions).toEqual([]);
  });

  it('the resolver continues after an empty answer and a failing server, and reports them in the end', async () => {
    dns.zone.set('wiki.a.example', {});
    expect(await resolve('wiki')).toEqual(['10.0.0.1']);
    dns.zone.set('late.a.example', { fault: 'SERVFAIL' });
    dns.zone.set('late.c.example', { addresses: ['10.0.0.3'] });
    expect(await resolve('late')).toEqual(['10.0.0.3']);
    dns.zone.set('none.b.example', {});
    await expect(resolve('none')).rejects.toEqual(fault('dial-name-failed'));
  });

  it('the resolver fails within 5 s in all if no server answers, and skips the other full names', {
    tags: ['waits'],
  }, async () => {
    dns.zone.set('slow.a.example', { silent: ['A', 'AAAA'] });
    const start = performance.now();
    await expect(resolve('slow')).rejects.toEqual(fault('dial-name-failed'));
    expect(performance.now() - start).toBeLessThan(8_000);
    expect(asked()).toEqual(['slow.a.example']);
  });

  it('the resolver cancels a look-up of several names with its program', async () => {
    dns.zone.set('slow.b.example', { silent: ['A', 'AAAA'] });
    const abort = new AbortController();
    const outcome = settled(resolve('slow', abort.signal));
    await vi.waitFor(() => expect(asked()).toContain('slow.b.example'), 30_000);
    abort.abort();
    expect(await outcome).toBe('dial-cancelled');
    expect(asked()).not.toContain('slow.c.example');
  });
});

describe('the cache of the resolver', () => {
  it('the resolver answers from the cache until the TTL is over', async () => {
    await resolve('www.example');
    now = 59_999;
    await resolve('www.example');
    expect(dns.questions).toHaveLength(2);
    now = 60_000;
    await resolve('www.example');
    expect(dns.questions).toHaveLength(4);
  });

  it('the resolver caches for 10 s that a name does not exist', async () => {
    for (now of [0, 9_999, 10_000])
      await expect(resolve('nothing.example')).rejects.toEqual(fault('dial-name-unknown'));
    expect(dns.questions).toHaveLength(4);
  });

  it('the resolver caches a TTL of 0 for 5 s, then sees the new address', async () => {
    expect(await resolve('rebind.example')).toEqual(['192.0.2.6']);
    dns.zone.set('rebind.example', { addresses: ['127.0.0.1'], ttl: 0 });
    now = 4_999;
    expect(await resolve('rebind.example')).toEqual(['192.0.2.6']);
    now = 5_000;
    expect(await resolve('rebind.example')).toEqual(['127.0.0.1']);
  });
});

describe('a look-up under way', () => {
  it('a look-up under way is shared by all that want the name', async () => {
    await Promise.all(Array.from({ length: 20 }, () => resolve('www.example')));
    expect(dns.questions).toHaveLength(2);
  });

  it('a shared look-up continues when one of them gives up', async () => {
    const abort = new AbortController();
    const [first, second] = [settled(resolve('www.example', abort.signal)), settled(resolve('www.example'))];
    abort.abort();
    expect(await first).toBe('dial-cancelled');
    expect(await second).toContain('192.0.2.1');
  });

  it('a look-up is cancelled when all have given up, is not cached, and the next starts anew', async () => {
    const abort = new AbortController();
    const all = [1, 2].map(() => settled(resolve('silent.example', abort.signal)));
    abort.abort();
    expect(await Promise.all(all)).toEqual(['dial-cancelled', 'dial-cancelled']);
    dns.zone.set('silent.example', { addresses: ['192.0.2.9'] });
    expect(await resolve('silent.example')).toEqual(['192.0.2.9']);
  });

  it('a look-up does not start for a program that has already given up', async () => {
    await expect(resolve('www.example', AbortSignal.abort())).rejects.toEqual(fault('dial-cancelled'));
    expect(dns.questions).toEqual([]);
  });
});

it('a name server that is not an address, or at port 0, is a bad option', () => {
  for (const server of ['dns.example', '127.0.0.1:0', '[::1]:0'])
    expect(() => createResolver({ servers: [server] })).toThrow(fault('bad-option'));
});
