import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { describe, expect, it } from 'vitest';
import { CredentialCheck } from '../../src/proxy/credentials.ts';
import { readConnect, readForward, responseHeaders, wantsUpgrade } from '../../src/proxy/http-request.ts';
import { type Framing, NO_CONTENT } from '../../src/proxy/http1/framing.ts';
import type { RequestHead } from '../../src/proxy/http1/request-head.ts';
import { targetOfAuthority, targetOfIp } from '../../src/proxy/request-target.ts';
import { ipTarget } from '../support/net/targets.ts';

function request(method: string, url: string, ...rawHeaders: string[]): RequestHead {
  return { method, url, minor: 1, rawHeaders };
}

/** Of HTTP/1.1, with the Host that it must have. */
function forward(wanted: RequestHead, framing: Framing = NO_CONTENT, check?: CredentialCheck) {
  return readForward({ ...wanted, rawHeaders: ['Host', 'h', ...wanted.rawHeaders] }, framing, check);
}

function refusalBody(answer: object): string {
  return 'refusal' in answer ? (answer.refusal as { body: string }).body : '';
}

describe('targetOfAuthority', () => {
  it.each([
    ['example.com:80', { kind: 'name', name: 'example.com', port: 80 }],
    ['192.0.2.1:443', ipTarget('192.0.2.1', 443)],
    ['[2001:DB8:0:0::1]:443', ipTarget('2001:db8::1', 443)],
    ['example.com', { kind: 'name', name: 'example.com', port: 8 }],
    ['example.com:', { kind: 'name', name: 'example.com', port: 8 }],
    // Not ours to judge: the exit refuses such names.
    ['0x7f.1:80', { kind: 'name', name: '0x7f.1', port: 80 }],
    ['127.1:80', { kind: 'name', name: '127.1', port: 80 }],
    ['a-.b-c._d.example.:80', { kind: 'name', name: 'a-.b-c._d.example.', port: 80 }],
    ['a%00b:80', { kind: 'name', name: 'a%00b', port: 80 }],
  ])('targetOfAuthority reads %s', (text, target) => {
    expect(targetOfAuthority(text, 8)).toEqual(target);
  });

  it.each([
    '',
    ':80',
    'a:0',
    'a:65536',
    'a:+80',
    'a:8o',
    'a:1:2',
    '::1',
    '[::1',
    '[::1%25eth0]:80',
    '[1.2.3.4]:80',
    'u@h:80',
    'h:080',
    'h:00080',
    'h:0',
    'h:-80',
    'h: 80',
    'h:80 ',
    ' h:80',
    'h:80\t',
    '192.0.2.1:080',
    '[::1]:080',
    '-h:80',
    '-h',
    'a.-b.example:80',
    'a..b:80',
    '.example:80',
    '.:80',
    'example..:80',
  ])('targetOfAuthority rejects %j', (text) => {
    expect(targetOfAuthority(text, 8)).toBeUndefined();
  });

  it('targetOfAuthority rejects a name of more than 255 bytes', () => {
    expect(targetOfAuthority('a'.repeat(255), 8)).toMatchObject({ name: 'a'.repeat(255) });
    expect(targetOfAuthority('a'.repeat(256), 8)).toBeUndefined();
  });

  it('targetOfAuthority reads every canonical IPv6 address', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const text = ipaddr.fromByteArray([...bytes]).toString();
        expect(targetOfAuthority(`[${text}]:1`)).toEqual(targetOfIp(bytes, 1));
      }),
      { seed: 1 },
    );
  });
});

describe('readForward', () => {
  const keep = ['Connection', 'keep-alive'];

  it('readForward splits the URL without rewriting it', () => {
    const read = forward(request('GET', 'http://example.com:8080/a/../b?c=%41\xe9#frag'));
    expect(read).toMatchObject({ target: { name: 'example.com', port: 8080 }, path: '/a/../b?c=%41\xe9' });
  });

  it.each([
    ['GET', 'http://h', '/'],
    ['GET', 'HTTP://h?q', '/?q'],
    ['OPTIONS', 'http://h', '*'],
    ['OPTIONS', 'http://h/', '/'],
  ])('readForward gives %s %s the path %s', (method, url, path) => {
    expect(forward(request(method, url))).toMatchObject({ path });
  });

  it.each([
    ['http://u:p@h:81/x', 81],
    ['http://u@h/x', 80],
    ['http://:@h/x', 80],
    ['http://u:p@q@h/x', 80],
    ['http://u%40a:p/@h/x', undefined],
  ])('readForward drops what is before the last @ of the authority: %s', (url, port) => {
    const read = forward(request('GET', url));
    if (port === undefined) expect(refusalBody(read)).toMatch(/no valid host/);
    else expect(read).toMatchObject({ target: { name: 'h', port }, path: '/x' });
    expect(JSON.stringify(read)).not.toMatch(/u:p|u%40|"u/);
  });

  it('readForward prefers the URL to Host (RFC 9112 §3.2.2)', () => {
    const read = readForward(request('GET', 'http://good.example/', 'Host', 'evil.example'), NO_CONTENT, undefined);
    expect(read).toMatchObject({ target: { name: 'good.example' }, headers: ['Host', 'good.example', ...keep] });
  });

  it('readForward requires no Host from HTTP/1.0, and does not forward its Expect', () => {
    const wanted = { ...request('POST', 'http://h/', 'Expect', '100-continue'), minor: 0 as const };
    const read = readForward(wanted, { kind: 'length', length: 3 }, undefined);
    expect(read).toMatchObject({ headers: ['Host', 'h', 'Content-Length', '3', ...keep] });
  });

  it('readForward keeps order, spelling, duplicates and bytes of end-to-end headers, and drops the others', () => {
    const headers = [
      ...['X-b', '1', 'Connection', 'keep-alive, X-Private', 'x-private', 'p', 'X-B', '\xfc \x80'],
      ...['Proxy-Authorization', 'Basic xyz', 'Proxy-Connection', 'keep-alive', 'Keep-Alive', '5', 'TE', 'trailers'],
      ...['Upgrade', 'h2c', 'Cookie', 'a=b'],
    ];
    const read = forward(request('GET', 'http://h/', ...headers));
    expect(read).toMatchObject({ headers: ['Host', 'h', 'X-b', '1', 'X-B', '\xfc \x80', 'Cookie', 'a=b', ...keep] });
  });

  it.each<[string, string, string[], Framing, string[]]>([
    ['a length', 'POST', ['Content-Length', '5'], { kind: 'length', length: 5 }, ['Content-Length', '5']],
    [
      'a length that Connection tries to hide',
      'GET',
      ['Connection', 'Content-Length', 'Content-Length', '5'],
      { kind: 'length', length: 5 },
      ['Content-Length', '5'],
    ],
    ['chunks', 'PUT', ['Transfer-Encoding', 'Chunked'], { kind: 'chunked' }, ['Transfer-Encoding', 'chunked']],
    ['nothing at all', 'POST', [], NO_CONTENT, ['Content-Length', '0']],
    ['nothing, and says so', 'LIST', ['Content-Length', '0'], NO_CONTENT, ['Content-Length', '0']],
    ['nothing, as GET has', 'GET', [], NO_CONTENT, []],
    ['nothing, by a method that nobody knows', 'LIST', [], NO_CONTENT, []],
  ])('readForward frames a request with %s', (_, method, headers, framing, framed) => {
    const read = forward(request(method, 'http://h/', ...headers), framing);
    expect(read).toMatchObject({ headers: ['Host', 'h', ...framed, ...keep], framing });
  });

  it.each([
    ['origin-form', request('GET', '/'), 400, /This is the proxy of wstun/],
    ['asterisk-form', request('OPTIONS', '*'), 400, /This is the proxy of wstun/],
    ['https', request('GET', 'https://h/'), 400, /use CONNECT/],
    ['an empty host', request('GET', 'http:///x'), 400, /no valid host/],
    ['user information without a host', request('GET', 'http://u:p@/x'), 400, /no valid host/],
    ['two Hosts', request('GET', 'http://h/', 'host', 'h'), 400, /more than one Host/],
  ])('readForward refuses %s', (_, wanted, status, body) => {
    const read = forward(wanted);
    expect(read).toMatchObject({ refusal: { status } });
    expect(refusalBody(read)).toMatch(body);
  });

  it('readForward keeps the fields of an upgrade', () => {
    const headers = ['Connection', 'Upgrade', 'Upgrade', 'websocket', 'Sec-WebSocket-Key', 'k'];
    expect(forward(request('GET', 'ws://h/chat', ...headers))).toMatchObject({
      target: { name: 'h', port: 80 },
      isUpgrade: true,
      headers: ['Host', 'h', 'Sec-WebSocket-Key', 'k', 'Connection', 'Upgrade', 'Upgrade', 'websocket'],
    });
  });

  it('readForward refuses a WebSocket with a body', () => {
    const wanted = request('POST', 'http://h/', 'Connection', 'upgrade', 'Upgrade', 'websocket');
    expect(forward(wanted, { kind: 'length', length: 3 })).toMatchObject({ refusal: { status: 501 } });
  });
});

describe('credentials', () => {
  const check = new CredentialCheck({ user: 'ann', pass: 'secret' });
  const header = (text: string) => ['Proxy-Authorization', `Basic ${Buffer.from(text).toString('base64')}`];

  it('credentials are checked before anything else', () => {
    for (const url of ['http://h/', '/', 'h:0']) {
      expect(forward(request('GET', url), NO_CONTENT, check)).toMatchObject({ refusal: { status: 407 } });
      expect(readConnect(request('CONNECT', url), check)).toMatchObject({ refusal: { status: 407 } });
    }
  });

  it('credentials open the proxy, and are never forwarded', () => {
    const read = forward(request('GET', 'http://h/', ...header('ann:secret')), NO_CONTENT, check);
    expect(read).toMatchObject({ headers: ['Host', 'h', 'Connection', 'keep-alive'] });
    expect(readConnect(request('CONNECT', 'h:1', ...header('ann:secret')), check)).toMatchObject({
      target: { port: 1 },
    });
  });

  it('two fields with credentials are refused', () => {
    const twice = [...header('ann:secret'), ...header('ann:secret')];
    const read = forward(request('GET', 'http://h/', ...twice), NO_CONTENT, check);
    expect(read).toMatchObject({ refusal: { status: 407 } });
  });
});

describe('readConnect', () => {
  it.each(['h', 'h:', 'h:0', 'http://h:80', '/', 'u:p@h:80'])('readConnect refuses %s', (url) => {
    expect(readConnect(request('CONNECT', url), undefined)).toMatchObject({ refusal: { status: 400 } });
  });
});

describe('wantsUpgrade', () => {
  const LENGTH: Framing = { kind: 'length', length: 3 };

  it.each<[string, string[], Framing, boolean]>([
    ['h2c with a length', ['Upgrade', 'h2c'], LENGTH, false],
    ['h2c in chunks', ['Upgrade', 'H2C'], { kind: 'chunked' }, false],
    ['h2c without a body, as its settings are for the next hop', ['Upgrade', 'h2c'], NO_CONTENT, false],
    ['another protocol with a body', ['Upgrade', 'tcp'], LENGTH, false],
    ['another protocol without a body', ['Upgrade', 'SPDY/3.1'], NO_CONTENT, true],
    ['a WebSocket', ['Upgrade', 'websocket'], NO_CONTENT, true],
    ['a WebSocket among others', ['Upgrade', 'h2c', 'upgrade', 'x, WebSocket'], LENGTH, true],
    ['nothing', ['Upgrade', ''], NO_CONTENT, false],
  ])('wantsUpgrade for %s: %j %j %s', (_, headers, framing, wanted) => {
    const asked = request('POST', 'http://h/', 'Connection', 'x, UPGRADE', ...headers);
    expect(wantsUpgrade(asked, framing)).toBe(wanted);
    expect(wantsUpgrade({ ...asked, minor: 0 }, framing)).toBe(false);
    expect(wantsUpgrade(request('POST', 'http://h/', ...headers), framing)).toBe(false);
  });
});

describe('responseHeaders', () => {
  it('responseHeaders returns the fields that are meant for the program, unchanged', () => {
    const headers = ['Set-Cookie', 'a', 'X A', '\xfc', 'Connection', 'X-Hop', 'x-hop', '1', 'set-cookie', 'b'];
    const framing = [
      'Content-Length',
      '3',
      'Transfer-Encoding',
      'chunked',
      'Trailer',
      'X',
      'Proxy-Authenticate',
      'Basic',
    ];
    expect(responseHeaders([...framing, ...headers])).toEqual(['Set-Cookie', 'a', 'X A', '\xfc', 'set-cookie', 'b']);
  });
});
