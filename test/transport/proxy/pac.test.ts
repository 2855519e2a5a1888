/**
 * PAC files: their results, and scripts in the sandbox.
 * @module-tag waits
 */

import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/clock.ts';
import { WstunError } from '../../../src/errors.ts';
import { PacFile, parsePacLocation, readPacResult } from '../../../src/transport/proxy/pac.ts';
import { describeProxy } from '../../../src/transport/proxy/proxy-url.ts';
import { atEnd } from '../../support/scope.ts';
import { tempDir } from '../../support/temp-dir.ts';

const shown = (text: string): string[] =>
  readPacResult(text).map((proxy) => (proxy === undefined ? 'direct' : describeProxy(proxy)));

describe('the result of a PAC file', () => {
  it.each([
    ['DIRECT', ['direct']],
    ['', ['direct']],
    ['null', ['direct']],
    ['PROXY a:3128; DIRECT', ['http://a:3128', 'direct']],
    ['proxy a; HTTPS b; HTTPS c:8443', ['http://a:80', 'https://b:443', 'https://c:8443']],
    ['SOCKS a:1; SOCKS4 b:2;SOCKS5 [::1]:3', ['socks4a://a:1', 'socks4a://b:2', 'socks5h://[::1]:3']],
    ['QUIC x:1; PROXY a:1', ['http://a:1']],
  ])('%j is %j', (text, ways) => {
    expect(shown(text)).toEqual(ways);
  });

  it('may be any text', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          expect(shown(text).length).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toMatchObject({ fault: 'pac-unusable' });
        }
      }),
    );
  });
});

describe('the address of a PAC file', () => {
  it('is a URL or an absolute path', () => {
    expect(parsePacLocation('pac+file:/a/b.pac', 'x')).toEqual({ path: '/a/b.pac' });
    expect(parsePacLocation('pac+file:///a/b%20c.pac', 'x')).toEqual({ path: '/a/b c.pac' });
    expect(parsePacLocation('http://proxy', 'x')).toBeUndefined();
    for (const text of ['pac+file:b.pac', 'pac+ftp://ann:secret@host/', 'pac+', 'pac+https://']) {
      expect(() => parsePacLocation(text, 'x')).toThrow(WstunError);
      expect(() => parsePacLocation(text, 'x')).not.toThrow(/secret/);
    }
  });
});

describe('a PAC file', () => {
  const script = async (text: string): Promise<PacFile> => {
    const path = join(await tempDir(), 'proxy.pac');
    await writeFile(path, text);
    return new PacFile({ path }, systemClock);
  };
  const ask = (pac: PacFile, url = 'wss://relay.test:8443/ticket'): Promise<string> => pac.resultFor(new URL(url));

  it('is asked by scheme, host and port, and never sees the path', async () => {
    const pac = await script('function FindProxyForURL(url, host) { return url + " " + host; }');
    expect(await ask(pac)).toBe('https://relay.test:8443/ relay.test');
    expect(await ask(pac, 'ws://[::1]/ticket')).toBe('http://[::1]/ ::1');
  });

  it('that does not exist is reported in words, without the code of the system', async () => {
    const asked = ask(new PacFile({ path: join(await tempDir(), 'absent.pac') }, systemClock));
    await expect(asked).rejects.toMatchObject({
      fault: 'pac-unusable',
      detail: expect.stringMatching(/: it does not exist$/),
    });
  });

  it('has the functions of PAC, and nothing of this machine', async () => {
    const pac = await script(
      'function FindProxyForURL(u, h) { return [typeof process, typeof require, isPlainHostName(h), dnsDomainIs(h, ".test")].join(); }',
    );
    expect(await ask(pac)).toBe('undefined,undefined,false,true');
  });

  it.each([
    ['loops', 'function FindProxyForURL() { for (;;) {} }'],
    ['loops while it is loaded', 'for (;;) {}'],
    ['takes all memory', 'function FindProxyForURL() { var a = "x"; for (;;) a += a; }'],
    ['throws', 'function FindProxyForURL() { throw new Error("secret"); }'],
    ['is no script', '<html>'],
    ['has no FindProxyForURL', 'var a = 1;'],
  ])('that %s is unusable, and this process goes on', async (_name, text) => {
    const error: unknown = await ask(await script(text)).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ fault: 'pac-unusable', message: expect.not.stringContaining('secret') });
  });

  it('is fetched, with user info that no error shows', async () => {
    const server = createServer((request, response) => {
      response.statusCode = request.headers.authorization === 'Basic YW5uOnNlY3JldA==' ? 200 : 403;
      response.end('function FindProxyForURL() { return "PROXY a:1"; }');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    atEnd(() => server.close());
    const { port } = server.address() as AddressInfo;
    const pac = (userInfo: string) =>
      new PacFile({ url: new URL(`http://${userInfo}@127.0.0.1:${port}/p`) }, systemClock);
    expect(await ask(pac('ann:secret'))).toBe('PROXY a:1');
    await expect(ask(pac('a%n:%zz'))).rejects.toThrow('HTTP 403.');
    await expect(ask(pac('ann:other'))).rejects.toThrow(`http://127.0.0.1:${port}: HTTP 403.`);
  });
});
