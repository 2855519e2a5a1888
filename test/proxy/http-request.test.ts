import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CredentialCheck } from '../../src/proxy/credentials.ts';
import { targetOfAuthority, targetOfIp } from '../../src/proxy/host.ts';
import {
  hasUnknownCoding,
  headWithoutUpgrade,
  passesOverUpgrade,
  readConnect,
  readForward,
  readUpgrade,
} from '../../src/proxy/http-request.ts';

function request(method: string, url: string, ...rawHeaders: string[]) {
  return { method, url, rawHeaders };
}

function refusalBody(answer: object): string {
  return 'refusal' in answer ? (answer.refusal as { body: string }).body : '';
}

describe('targetOfAuthority', () => {
  it.each([
    ['example.com:80', { kind: 'name', host: 'example.com', port: 80 }],
    ['192.0.2.1:443', { kind: 'ipv4', host: '192.0.2.1', port: 443 }],
    ['[2001:DB8:0:0::1]:443', { kind: 'ipv6', host: '2001:db8::1', port: 443 }],
    ['example.com', { kind: 'name', host: 'example.com', port: 8 }],
    ['example.com:', { kind: 'name', host: 'example.com', port: 8 }],
    // Not ours to judge: the exit refuses such names.
    ['0x7f.1:80', { kind: 'name', host: '0x7f.1', port: 80 }],
    ['127.1:80', { kind: 'name', host: '127.1', port: 80 }],
    ['a-.b-c._d.example.:80', { kind: 'name', host: 'a-.b-c._d.example.', port: 80 }],
    ['a%00b:80', { kind: 'name', host: 'a%00b', port: 80 }],
  ])('reads %s', (text, target) => {
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
  ])('refuses %j', (text) => {
    expect(targetOfAuthority(text, 8)).toBeUndefined();
  });

  it('refuses a name of more than 255 bytes', () => {
    expect(targetOfAuthority('a'.repeat(255), 8)?.host.length).toBe(255);
    expect(targetOfAuthority('a'.repeat(256), 8)).toBeUndefined();
  });

  it('reads every IPv6 address that is written canonically back to the same', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const { host } = targetOfIp(bytes, 1);
        expect(targetOfAuthority(`[${host}]:1`)).toEqual({ kind: 'ipv6', host, port: 1 });
      }),
      { seed: 1 },
    );
  });
});

describe('readForward', () => {
  it('cuts the URL without rewriting it', () => {
    const read = readForward(request('GET', 'http://example.com:8080/a/../b?c=%41#frag'), undefined);
    expect(read).toMatchObject({ target: { host: 'example.com', port: 8080 }, path: '/a/../b?c=%41' });
  });

  it.each([
    ['GET', 'http://h', '/'],
    ['GET', 'HTTP://h?q', '/?q'],
    ['OPTIONS', 'http://h', '*'],
    ['OPTIONS', 'http://h/', '/'],
  ])('gives %s %s the path %s', (method, url, path) => {
    expect(readForward(request(method, url), undefined)).toMatchObject({ path });
  });

  it('lets the URL win over Host (RFC 9112 §3.2.2)', () => {
    const read = readForward(request('GET', 'http://good.example/', 'Host', 'evil.example'), undefined);
    expect(read).toMatchObject({ target: { host: 'good.example' }, headers: ['Host', 'good.example'] });
  });

  it('keeps order, spelling and doubles of the end-to-end headers, and drops the others', () => {
    const headers = [
      ...['Host', 'h', 'X-b', '1', 'Connection', 'keep-alive, X-Private', 'x-private', 'p', 'X-B', '2'],
      ...['Proxy-Authorization', 'Basic xyz', 'Proxy-Connection', 'keep-alive', 'Keep-Alive', '5', 'TE', 'trailers'],
      ...['Upgrade', 'h2c', 'Cookie', 'a=b'],
    ];
    const read = readForward(request('GET', 'http://h/', ...headers), undefined);
    expect(read).toMatchObject({ headers: ['Host', 'h', 'X-b', '1', 'X-B', '2', 'Cookie', 'a=b'] });
  });

  it.each([
    ['a length', 'POST', ['Content-Length', '5'], ['Content-Length', '5'], true],
    [
      'a length that Connection tries to hide',
      'GET',
      ['Connection', 'Content-Length', 'Content-Length', '5'],
      ['Content-Length', '5'],
      true,
    ],
    ['chunks', 'PUT', ['Transfer-Encoding', 'Chunked'], ['Transfer-Encoding', 'chunked'], true],
    ['nothing at all', 'POST', [], ['Content-Length', '0'], false],
    ['nothing, as GET has', 'GET', [], [], false],
  ])('frames a request with %s', (_, method, headers, framing, hasBody) => {
    const read = readForward(request(method, 'http://h/', ...headers), undefined);
    expect(read).toMatchObject({ headers: ['Host', 'h', ...framing], hasBody });
  });

  it.each([
    ['origin-form', request('GET', '/'), 400, /This is the proxy of wstun/],
    ['asterisk-form', request('OPTIONS', '*'), 400, /This is the proxy of wstun/],
    ['https', request('GET', 'https://h/'), 400, /by CONNECT/],
    ['user information', request('GET', 'http://u:p@h/'), 400, /no valid host/],
    ['an empty host', request('GET', 'http:///x'), 400, /no valid host/],
    ['two Hosts', request('GET', 'http://h/', 'Host', 'h', 'host', 'h'), 400, /more than one Host/],
    ['another coding', request('POST', 'http://h/', 'Transfer-Encoding', 'gzip, chunked'), 501, /coding/],
  ])('refuses %s', (_, wanted, status, body) => {
    const read = readForward(wanted, undefined);
    expect(read).toMatchObject({ refusal: { status } });
    expect(refusalBody(read)).toMatch(body);
  });
});

describe('credentials', () => {
  const check = new CredentialCheck({ user: 'ann', pass: 'secret' });
  const header = (text: string) => ['Proxy-Authorization', `Basic ${Buffer.from(text).toString('base64')}`];

  it('are asked for before anything else is looked at', () => {
    for (const url of ['http://h/', '/', 'h:0']) {
      expect(readForward(request('GET', url), check)).toMatchObject({ refusal: { status: 407 } });
      expect(readConnect(request('CONNECT', url), check)).toMatchObject({ refusal: { status: 407 } });
    }
  });

  it('open the proxy, and are never passed on', () => {
    const read = readForward(request('GET', 'http://h/', ...header('ann:secret')), check);
    expect(read).toMatchObject({ headers: ['Host', 'h'] });
    expect(readConnect(request('CONNECT', 'h:1', ...header('ann:secret')), check)).toMatchObject({
      target: { port: 1 },
    });
  });

  it('are refused twice over', () => {
    const twice = [...header('ann:secret'), ...header('ann:secret')];
    expect(readForward(request('GET', 'http://h/', ...twice), check)).toMatchObject({ refusal: { status: 407 } });
  });
});

describe('readConnect', () => {
  it.each(['h', 'h:', 'h:0', 'http://h:80', '/'])('refuses %s', (url) => {
    expect(readConnect(request('CONNECT', url), undefined)).toMatchObject({ refusal: { status: 400 } });
  });
});

describe('readUpgrade', () => {
  it('keeps what asks for the upgrade', () => {
    const wanted = request(
      'GET',
      'ws://h/chat',
      'Connection',
      'Upgrade',
      'Upgrade',
      'websocket',
      'Sec-WebSocket-Key',
      'k',
    );
    expect(readUpgrade(wanted, undefined)).toMatchObject({
      target: { host: 'h', port: 80 },
      headers: ['Host', 'h', 'Sec-WebSocket-Key', 'k', 'Connection', 'Upgrade', 'Upgrade', 'websocket'],
    });
  });

  it('refuses one with a body', () => {
    const wanted = request('POST', 'http://h/', 'Upgrade', 'websocket', 'Content-Length', '3');
    expect(readUpgrade(wanted, undefined)).toMatchObject({ refusal: { status: 501 } });
  });
});

describe('passesOverUpgrade', () => {
  it.each([
    ['h2c with a length', ['Upgrade', 'h2c', 'Content-Length', '3'], true],
    ['h2c in chunks', ['Upgrade', 'H2C', 'Transfer-Encoding', 'chunked'], true],
    ['h2c without a body, as its settings are for the next hop', ['Upgrade', 'h2c'], true],
    ['another protocol with a body', ['Upgrade', 'tcp', 'Content-Length', '3'], true],
    ['another protocol without a body', ['Upgrade', 'SPDY/3.1', 'Content-Length', '0'], false],
    ['a WebSocket', ['Upgrade', 'websocket'], false],
    ['a WebSocket among others', ['Upgrade', 'h2c', 'upgrade', 'x, WebSocket', 'Content-Length', '3'], false],
  ])('is for %s: %j %s', (_, headers, passedOver) => {
    expect(passesOverUpgrade(request('POST', 'http://h/', ...headers))).toBe(passedOver);
  });

  it('leaves the head as it was but for Upgrade', () => {
    const headers = ['Host', 'h', 'Connection', 'Upgrade, X', 'UPGRADE', 'h2c', 'X', 'caf\xe9', 'x', ''];
    const head = headWithoutUpgrade({ ...request('POST', 'http://h/\xe9', ...headers), httpVersion: '1.0' });
    expect(head.toString('latin1')).toBe(
      'POST http://h/\xe9 HTTP/1.0\r\nHost: h\r\nConnection: Upgrade, X\r\nX: caf\xe9\r\nx: \r\n\r\n',
    );
  });
});

describe('hasUnknownCoding', () => {
  it.each([
    ['none', [], false],
    ['chunked', ['transfer-encoding', 'Chunked'], false],
    ['identity, which changes nothing and old servers name', ['Transfer-Encoding', 'identity'], false],
    ['gzip in chunks', ['Transfer-Encoding', 'gzip, chunked'], true],
    ['gzip in chunks, on two lines', ['Transfer-Encoding', 'gzip', 'Transfer-Encoding', 'chunked'], true],
    ['gzip up to the end', ['Transfer-Encoding', 'gzip'], true],
    ['chunks in chunks', ['Transfer-Encoding', 'chunked, chunked'], true],
    ['a content coding, which is the program’s to undo', ['Content-Encoding', 'gzip'], false],
  ])('is, for an answer with %s: %j %s', (_, headers, unknown) => {
    expect(hasUnknownCoding(headers)).toBe(unknown);
  });
});
