import type { IncomingHttpHeaders } from 'node:http';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { answerFault } from '../../src/transport/answer-faults.ts';
import { nameOfFront, placeOfRedirect } from '../../src/transport/http-intermediary.ts';

const TICKET = 'a-ticket-nobody-may-see';
const WHERE = 'relay.example.org:443';

function detailOf(status: number, headers: IncomingHttpHeaders, url = `wss://relay.example.org/${TICKET}`): string {
  return answerFault({ status, headers, url: new URL(url), where: WHERE }).detail;
}

describe('the name of an HTTP intermediary', () => {
  it.each<[string, IncomingHttpHeaders]>([
    ['nginx', { server: 'nginx/1.22.1' }],
    ['OpenResty', { server: 'openresty' }],
    ['Apache', { server: 'Apache/2.4.71 (Debian)' }],
    ['Caddy', { server: 'Caddy' }],
    ['Caddy', { via: '1.1 Caddy' }],
    ['Cloudflare', { server: 'cloudflare', 'cf-ray': '8a1-FRA' }],
    ['Cloudflare', { server: 'nginx', 'cf-ray': '8a1-FRA' }],
    ['HAProxy', { server: 'HAProxy/2.6' }],
    ['Envoy', { server: 'istio-envoy' }],
    ['Varnish', { via: '1.1 varnish (Varnish/7.1)' }],
    ['Squid', { via: '1.1 cache.corp.example (squid/5.7)' }],
    ['Squid', { server: 'squid/5.7' }],
    ['Microsoft IIS', { server: 'Microsoft-IIS/10.0' }],
    ['AWS load balancer', { server: 'awselb/2.0' }],
    ['Amazon CloudFront', { via: '1.1 0a1b.cloudfront.net (CloudFront)', 'x-amz-cf-id': 'x' }],
    ['Google', { server: 'Google Frontend' }],
    ['LiteSpeed', { server: 'LiteSpeed' }],
    ['mitmproxy', { server: 'mitmproxy 8.1.1' }],
    ['tinyproxy', { via: '1.1 tinyproxy (tinyproxy/1.11.1)' }],
    [
      'Traefik or another program written in Go',
      { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff', 'content-length': '19' },
    ],
  ])('an HTTP intermediary is named if its answer identifies it: %s', (name, headers) => {
    expect(nameOfFront(headers)).toBe(name);
  });

  it('an HTTP intermediary that the table does not know is not named', () => {
    for (const server of ['', 'my own \u001b[31mserver', 'enginx', 'x'.repeat(100_000)])
      expect(nameOfFront({ server, via: server })).toBeUndefined();
    expect(nameOfFront({})).toBeUndefined();
  });
});

describe('an HTTP answer to the upgrade', () => {
  it.each<[number, IncomingHttpHeaders, string]>([
    [404, { server: 'nginx' }, 'HTTP 404 from nginx'],
    [404, {}, 'HTTP 404'],
    [403, { 'cf-ray': 'x' }, 'HTTP 403 from Cloudflare: its rules forbid the connection'],
    [521, { 'cf-ray': 'x' }, 'HTTP 521 from Cloudflare: the proxy in front answers, but the relay behind it does not'],
    [503, { server: 'HAProxy' }, 'HTTP 503 from HAProxy: the proxy in front answers, but the relay behind it does not'],
    [511, {}, 'HTTP 511: this network requires a login'],
    [
      302,
      { location: 'http://login.hotel.example/?u=1', server: 'nginx' },
      'from nginx: it redirects to http://login.hotel.example/: open that in a browser',
    ],
    [307, {}, 'HTTP 307'],
  ])('the fault for HTTP %i names the product if it is known, and what the status means', (status, headers, text) => {
    const detail = detailOf(status, headers);
    expect(detail).toContain(text);
    expect(detail.startsWith(`${WHERE}: HTTP ${status}`)).toBe(true);
  });

  it('only HTTP 404 is relay-refused: a product that forbids or fails is not the relay', () => {
    for (let status = 200; status < 600; status++) {
      const { fault, exitCode } = answerFault({ status, headers: {}, url: new URL('ws://h/x'), where: WHERE });
      expect([fault, exitCode]).toEqual(status === 404 ? ['relay-refused', 77] : ['relay-odd-answer', 69]);
    }
  });

  it('a redirect from ws:// to https:// of the same host asks for an invite with a wss:// URL', () => {
    const detail = detailOf(
      301,
      { location: `https://relay.example.org/${TICKET}` },
      `ws://relay.example.org/${TICKET}`,
    );
    expect(detail).toContain('ask for an invite with a wss:// URL');
    expect(detail).not.toContain(TICKET);
  });
});

describe('a redirect of the upgrade', () => {
  const asked = new URL(`wss://relay.example.org/${TICKET}`);

  it.each([
    ['http://login.hotel.example/', 'http://login.hotel.example/'],
    ['http://user:pass@login.example:8080/path?q#f', 'http://login.example:8080/'],
    ['//portal.example/x', 'https://portal.example/'],
    ['/login', 'https://relay.example.org/'],
    ['http://192.168.1.1/', 'http://192.168.1.1/'],
    ['http://[fd00::1]:81/', 'http://[fd00::1]:81/'],
    ['HTTP://BÜCHER.example/', 'http://xn--bcher-kva.example/'],
  ])('a redirect to %s is reported as %s', (location, place) => {
    expect(placeOfRedirect(location, asked)?.href).toBe(place);
  });

  it.each([
    'javascript:alert(1)',
    'file:///etc/passwd',
    'http://',
    'http://a b/',
    `http://${'a.'.repeat(200)}example/`,
    'http://x%1b[31m/',
    undefined,
  ])('a redirect to %s is not reported', (location) => {
    expect(placeOfRedirect(location, asked)).toBeUndefined();
  });

  it('a fault never contains text from header fields, whatever they hold', () => {
    const field = fc.oneof(fc.string({ unit: 'binary', maxLength: 60 }), fc.webUrl({ withQueryParameters: true }));
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 999 }), field, field, field, (status, server, via, location) => {
        const { message } = answerFault({ status, headers: { server, via, location }, url: asked, where: WHERE });
        expect(message).toMatch(/^[ -~]*$/);
        expect(message).not.toContain(TICKET);
        expect(message.length).toBeLessThan(800);
      }),
      { seed: 12, numRuns: 200 },
    );
  });
});
