/** Proxies as people and environments write them. */
import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WstunError } from '../../../src/errors.ts';
import { isExcepted, proxyInEnvironment } from '../../../src/transport/proxy/proxy-environment.ts';
import { describeProxy, parseProxy } from '../../../src/transport/proxy/proxy-url.ts';

describe('the URL of a proxy', () => {
  it.each([
    ['proxy', 'http://proxy:1080'],
    ['proxy:3128', 'http://proxy:3128'],
    ['http://proxy:3128/', 'http://proxy:3128'],
    ['https://proxy', 'https://proxy:443'],
    ['SOCKS5h://10.0.0.1:9', 'socks5h://10.0.0.1:9'],
    ['socks://h', 'socks4://h:1080'],
    ['socks4a://[::1]:80', 'socks4a://[::1]:80'],
    [' user:pass@proxy:1 ', 'http://proxy:1'],
  ])('%s is %s', (text, shown) => {
    expect(describeProxy(parseProxy(text, '--proxy'))).toBe(shown);
  });

  it.each([
    ['user:pass@proxy', 'user', 'pass'],
    ['u%40x:p%3Aa%25%2F@proxy', 'u@x', 'p:a%/'],
    ['CORP\\ann:a@b:c/d#e?f@proxy', 'CORP\\ann', 'a@b:c/d#e?f'],
    ['u:100%@proxy', 'u', '100%'],
    ['u:%c3%a9%e9@proxy', 'u', 'Ã©é'],
    ['u:%c3%a9@proxy', 'u', 'é'],
    ['only@proxy', 'only', ''],
  ])('%s has the user name %s and the password %s', (text, user, password) => {
    const { credentials } = parseProxy(text, '--proxy');
    expect([credentials?.exposeUser(), credentials?.exposePassword()]).toEqual([user, password]);
  });

  it.each([
    'ftp://proxy',
    'http://',
    'http://user:secret@:80',
    'http://proxy:0',
    'http://proxy:65536',
    'http://[::g]:1',
    'http://a b',
    'http://user:se%0acret@proxy',
    'http://secret@proxy/secret/path',
    '',
  ])('%j is rejected, and no error shows a secret', (text) => {
    const parse = (): unknown => parseProxy(text, '--proxy');
    expect(parse).toThrow(WstunError);
    expect(parse).toThrow(/^(?!.*(?:secret@|se%0acret)).*WSTUN-E136/);
  });

  it('shows its credentials neither to inspect nor to JSON', () => {
    const proxy = parseProxy('http://anna:hunter2@proxy', '--proxy');
    expect(inspect(proxy, { depth: 9, showHidden: true }) + JSON.stringify(proxy)).not.toMatch(/anna|hunter2/);
  });

  it('has any user name and password, percent-encoded', () => {
    const text = fc.string({ unit: 'grapheme', minLength: 1 }).filter((one) => !/\p{Cc}/u.test(one));
    fc.assert(
      fc.property(text, text, (user, password) => {
        const { credentials } = parseProxy(`http://${encodeURIComponent(user)}:${encodeURIComponent(password)}@p`, 'x');
        expect([credentials?.exposeUser(), credentials?.exposePassword()]).toEqual([user, password]);
      }),
    );
  });
});

describe('the proxy of the environment', () => {
  const named = (url: string, environment: Record<string, string>): string | undefined =>
    proxyInEnvironment(new URL(url), environment)?.variable;
  const all = { http_proxy: 'a', https_proxy: 'b', HTTPS_PROXY: 'c', all_proxy: 'd', ALL_PROXY: 'e', HTTP_PROXY: 'f' };

  it('is for wss:// that of https_proxy, HTTPS_PROXY, all_proxy, ALL_PROXY, in this order', () => {
    const { https_proxy, ...second } = all;
    const { HTTPS_PROXY, ...third } = second;
    const { all_proxy, ...fourth } = third;
    const { ALL_PROXY, ...none } = fourth;
    const found = [all, second, third, fourth, none].map((environment) => named('wss://relay.test', environment));
    expect(found).toEqual(['https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY', undefined]);
    expect([https_proxy, HTTPS_PROXY, all_proxy, ALL_PROXY]).toEqual(['b', 'c', 'd', 'e']);
  });

  it('is for ws:// that of http_proxy in lower case alone, then of all_proxy', () => {
    expect(named('ws://relay.test', all)).toBe('http_proxy');
    expect(named('ws://relay.test', { HTTP_PROXY: 'f', HTTPS_PROXY: 'c' })).toBeUndefined();
    expect(named('ws://relay.test', { HTTP_PROXY: 'f', ALL_PROXY: 'e' })).toBe('ALL_PROXY');
  });

  it('is not that of an empty variable', () => {
    expect(named('wss://relay.test', { https_proxy: '', ALL_PROXY: 'e' })).toBe('ALL_PROXY');
  });

  it.each(['ws://127.0.0.1:8080', 'ws://[::1]', 'wss://localhost', 'wss://a.localhost:1'])(
    'is used for %s, too, as curl does',
    (url) => {
      expect(named(url, { ...all })).toBeDefined();
    },
  );

  it('reads no_proxy before NO_PROXY', () => {
    expect(named('wss://relay.test', { ...all, no_proxy: 'other', NO_PROXY: '*' })).toBe('https_proxy');
    expect(named('wss://relay.test', { ...all, no_proxy: '', NO_PROXY: '*' })).toBeUndefined();
  });
});

describe('NO_PROXY', () => {
  it.each([
    ['relay.test', 443, 'relay.test'],
    ['relay.test', 443, 'TEST'],
    ['relay.test', 443, '.test'],
    ['relay.test', 443, '*.test'],
    ['relay.test', 443, ' other.test,, relay.test. '],
    ['relay.test', 443, 'a b relay.test'],
    ['relay.test', 443, '*'],
    ['relay.test', 443, 'test:443'],
    ['a.relay.test.', 443, 'relay.test'],
    ['10.1.2.3', 443, '10.1.2.3'],
    ['10.1.2.3', 443, '10.0.0.0/8'],
    ['10.1.2.3', 443, '10.1.2.77/8'],
    ['10.1.2.3', 8080, '10.1.2.3:8080'],
    ['fd00::1', 443, 'fd00::/8'],
    ['fd00::1', 443, '[fd00::1]:443'],
    ['fd00::1', 443, 'FD00:0:0::1'],
  ])('%s port %i is excepted by %j', (host, port, list) => {
    expect(isExcepted(host, port, list)).toBe(true);
  });

  it.each([
    ['relay.test', 443, 'elay.test'],
    ['relay.test', 443, 'relay.test:80'],
    ['relay.test', 443, 'a.relay.test'],
    ['relay.test', 443, '10.0.0.0/8'],
    ['10.1.2.3', 443, '11.0.0.0/8'],
    ['10.1.2.3', 443, '10.1.2.3/33'],
    ['10.1.2.3', 443, '2.3'],
    ['10.1.2.3', 443, '::/0'],
    ['fd00::1', 443, '0.0.0.0/0'],
    ['relay.test', 443, ''],
    ['relay.test', 443, '.'],
  ])('%s port %i is not excepted by %j', (host, port, list) => {
    expect(isExcepted(host, port, list)).toBe(false);
  });
});
