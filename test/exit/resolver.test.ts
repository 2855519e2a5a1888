import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createResolver, type Resolver } from '../../src/exit/resolver.ts';
import { formatIp } from '../../src/net/ip.ts';
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
  it('has its AAAA and A addresses, asked for once each and exactly as it is', async () => {
    expect(sorted(await resolve('www.example'))).toEqual(['192.0.2.1', '192.0.2.2', '2001:db8::1']);
    expect(sorted(dns.questions)).toEqual(['A www.example', 'AAAA www.example']);
  });

  it('without a dot is asked for as it is where there is no search domain', async () => {
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

describe('a name below search domains', () => {
  const asked = () => [...new Set(dns.questions.map((question) => question.split(' ')[1]))];
  const search = (line: string) => writeFileSync(join(dir, 'resolv.conf'), `${line}\n`);

  beforeEach(() => {
    dns.zone.set('wiki.b.example', { addresses: ['10.0.0.1'] });
    resolver = resolverWith();
    search('search a.example b.example c.example');
  });

  it('is looked up below one after the other, until one has it', async () => {
    expect(await resolve('wiki')).toEqual(['10.0.0.1']);
    expect(asked()).toEqual(['wiki.a.example', 'wiki.b.example']);
    expect(await resolver.resolve(['wiki.a.example', 'wiki.b.example'], new AbortController().signal)).toMatchObject({
      name: 'wiki.b.example',
    });
  });

  it('is unknown when it is nowhere, nor known as it is', async () => {
    await expect(resolve('nothing')).rejects.toEqual(fault('dial-name-unknown'));
    expect(asked()).toEqual(['nothing.a.example', 'nothing.b.example', 'nothing.c.example', 'nothing']);
  });

  it('has each answer remembered under its full name: the list may change at any time', async () => {
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

  it('is not asked for where the hosts file has it', async () => {
    expect(await resolve('myhost')).toEqual(['10.0.0.7']);
    expect(dns.questions).toEqual([]);
  });

  it('goes on behind an empty answer and a server that fails, and tells of them in the end', async () => {
    dns.zone.set('wiki.a.example', {});
    expect(await resolve('wiki')).toEqual(['10.0.0.1']);
    dns.zone.set('late.a.example', { fault: 'SERVFAIL' });
    dns.zone.set('late.c.example', { addresses: ['10.0.0.3'] });
    expect(await resolve('late')).toEqual(['10.0.0.3']);
    dns.zone.set('none.b.example', {});
    await expect(resolve('none')).rejects.toEqual(fault('dial-name-failed'));
  });

  it('has failed within 5 s in all when nobody answers for it, and the rest is not asked for', async () => {
    dns.zone.set('slow.a.example', { silent: ['A', 'AAAA'] });
    const start = performance.now();
    await expect(resolve('slow')).rejects.toEqual(fault('dial-name-failed'));
    expect(performance.now() - start).toBeLessThan(8_000);
    expect(asked()).toEqual(['slow.a.example']);
  });

  it('is given up with the program that wanted it', async () => {
    dns.zone.set('slow.b.example', { silent: ['A', 'AAAA'] });
    const abort = new AbortController();
    const outcome = settled(resolve('slow', abort.signal));
    await vi.waitFor(() => expect(asked()).toContain('slow.b.example'));
    abort.abort();
    expect(await outcome).toBe('dial-cancelled');
    expect(asked()).not.toContain('slow.c.example');
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
