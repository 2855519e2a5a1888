/** The PAC file, read by two engines: V8 with nothing but the language, and the client's own sandbox. */
import { createContext, runInContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WstunError } from '../../src/errors.ts';
import { parseDirectRules } from '../../src/proxy/direct-rules.ts';
import { pacText } from '../../src/proxy/pac-text.ts';
import { readPacResult } from '../../src/transport/proxy/pac.ts';
import { isExcepted } from '../../src/transport/proxy/proxy-environment.ts';

const ADDRESS = { host: '127.0.0.1', port: 1080 };
const THROUGH = 'SOCKS5 127.0.0.1:1080; PROXY 127.0.0.1:1080';

/** A function that resolves a name would not be defined here. */
function evaluate(text: string): (url: string) => string {
  const context = createContext({});
  runInContext(text, context);
  return (url) => {
    const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
    return String(runInContext(`FindProxyForURL(${JSON.stringify(url)}, ${JSON.stringify(host)})`, context));
  };
}

function pacFor(...rules: readonly string[]): (url: string) => string {
  return evaluate(pacText({ address: ADDRESS, needsPassword: false, direct: parseDirectRules(rules) }));
}

describe('the PAC file', () => {
  it('the PAC file sends everything through the tunnel but loopback, and never says DIRECT behind a proxy', () => {
    const find = pacFor();
    for (const url of ['http://example.org/', 'https://10.0.0.1/', 'ws://[2001:db8::1]:81/', 'http://wstun.internal/'])
      expect(find(url)).toBe(THROUGH);
    for (const url of ['http://localhost:3000/', 'http://a.localhost/', 'https://127.8.9.10/', 'http://[::1]:8080/'])
      expect(find(url)).toBe('DIRECT');
  });

  it.each([
    ['http://corp.example/', 'DIRECT'],
    ['http://WIKI.corp.example./', 'DIRECT'],
    ['http://xcorp.example/', THROUGH],
    ['http://corp.example.org/', THROUGH],
    ['https://10.255.0.1/', 'DIRECT'],
    ['https://11.0.0.1/', THROUGH],
    ['https://192.168.7.65/', 'DIRECT'],
    ['https://192.168.7.63/', THROUGH],
    ['https://[fd00::5]/', 'DIRECT'],
    ['https://[fe00::5]/', THROUGH],
    ['https://[::ffff:1.2.3.4]/', 'DIRECT'],
    ['https://db.example:8443/', 'DIRECT'],
    ['https://db.example/', THROUGH],
    ['https://secure.example/', 'DIRECT'],
    ['http://secure.example/', THROUGH],
  ])('the PAC file with rules says of %s: %s', (url, expected) => {
    const find = pacFor(
      ...['corp.example', '10.0.0.0/8', '192.168.7.64/26', '[fd00::]/8', '::ffff:1.2.3.4'],
      'db.example:8443,.secure.example:443',
    );
    expect(find(url)).toBe(expected);
  });

  it('the PAC file agrees with how the client reads NO_PROXY, whatever the address and the network', () => {
    const octets = fc.array(fc.nat(255), { minLength: 4, maxLength: 4 });
    const property = fc.property(octets, octets, fc.nat(32), fc.boolean(), (base, other, bits, isNear) => {
      const network = `${base.join('.')}/${bits}`;
      const address = (isNear ? [...base.slice(0, 3), other[3]] : other).join('.');
      if (address.startsWith('127.')) return;
      const expected = isExcepted(address, 80, network) ? 'DIRECT' : THROUGH;
      expect(pacFor(network)(`http://${address}/`)).toBe(expected);
    });
    fc.assert(property, { numRuns: 200 });
  });

  it('with a password the PAC file names only the HTTP proxy, which browsers can give one', () => {
    const text = pacText({ address: { host: 'fd00::1', port: 1080 }, needsPassword: true, direct: [] });
    expect(evaluate(text)('http://example.org/')).toBe('PROXY [fd00::1]:1080');
  });

  it('the client reads what its own PAC file says as two proxies and no direct way', () => {
    expect(readPacResult(pacFor()('http://example.org/'))).toMatchObject([{ kind: 'socks5h' }, { kind: 'http' }]);
  });
});

it.each([
  '*',
  '',
  'a b/',
  '10.0.0.0/33',
  '-x.example',
  '127.1',
  '0x7f.1',
  'host:0',
  'host:70000',
  '[::1',
  '"];x',
  'ü.de',
])('parseDirectRules rejects %j, which would never match or match everything', (text) => {
  if (text === '') return expect(parseDirectRules([text])).toEqual([]);
  expect(() => parseDirectRules([text])).toThrow(WstunError);
});
