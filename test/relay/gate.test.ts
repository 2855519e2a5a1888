import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createIdentity } from '../../src/crypto/keys.ts';
import { PAGE_FEATURE, TicketOpener, TicketSealer } from '../../src/crypto/ticket.ts';
import { Gate, type GateDecision, parsePathPrefix, type UpgradeRequest } from '../../src/relay/gate.ts';
import { faultOf } from '../support/faults.ts';

const NOW = 1_800_000_060_000;
const relay = createIdentity();
const alice = createIdentity();
const sealer = new TicketSealer(alice, relay.public.gate);

function newTicket(features = 2): string {
  return sealer.seal({ role: 'client', destination: 'home', protocol: 1, features }, NOW);
}

function newOpener(): TicketOpener {
  const opener = new TicketOpener(relay);
  opener.setPeers([{ name: 'alice', gateKey: alice.public.gate, role: 'client', destination: 'home' }]);
  return opener;
}

const HEADERS = {
  host: 'relay',
  upgrade: 'websocket',
  connection: 'Upgrade',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
};

function request(url: string, overrides: Partial<UpgradeRequest> = {}): UpgradeRequest {
  return { method: 'GET', url, httpVersion: '1.1', headers: HEADERS, ...overrides };
}

function withHeaders(headers: Record<string, string | undefined>): Partial<UpgradeRequest> {
  const merged = { ...HEADERS, ...headers };
  return { headers: Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== undefined)) };
}

function etagOf(decision: GateDecision): string {
  return decision.admitted === undefined ? (decision.etag ?? '') : '';
}

function missingIn(decision: GateDecision): string {
  return decision.admitted === undefined ? (decision.missing ?? '') : '';
}

describe('the gate', () => {
  it('the gate admits an upgrade with a ticket once, and returns what the ticket says', () => {
    const gate = new Gate(newOpener(), undefined);
    const url = `/${newTicket()}`;
    expect(gate.check(request(url), NOW)).toEqual({
      admitted: { peer: 'alice', role: 'client', destination: 'home', protocol: 1, features: 2 },
    });
    expect(gate.check(request(url), NOW)).toEqual({ admitted: undefined, reason: 'replayed', peer: 'alice' });
  });

  it.each([
    ['any case', { upgrade: 'WebSocket', connection: 'upgrade' }],
    ['a list of connection options', { connection: 'keep-alive, Upgrade' }],
    [
      'an offer of compression, as browsers make it',
      { 'sec-websocket-extensions': 'permessage-deflate; client_max_window_bits' },
    ],
    ['an empty body', { 'content-length': '0' }],
    ['what a reverse proxy adds', { 'x-forwarded-for': '192.0.2.1', via: '1.1 proxy' }],
  ])('the gate admits %s', (_what, headers) => {
    expect(
      new Gate(newOpener(), undefined).check(request(`/${newTicket()}`, withHeaders(headers)), NOW).admitted,
    ).toBeDefined();
  });

  it.each<[string, Partial<UpgradeRequest>]>([
    ['POST', { method: 'POST' }],
    ['HEAD', { method: 'HEAD' }],
    ['lower-case get', { method: 'get' }],
    ['HTTP/1.0', { httpVersion: '1.0' }],
    ['no host', withHeaders({ host: undefined })],
    ['an empty host', withHeaders({ host: '' })],
    ['no upgrade', withHeaders({ upgrade: undefined })],
    ['an upgrade to h2c', withHeaders({ upgrade: 'h2c' })],
    ['an upgrade to several', withHeaders({ upgrade: 'websocket, h2c' })],
    ['no connection', withHeaders({ connection: undefined })],
    ['a connection to be closed', withHeaders({ connection: 'close' })],
    ['a connection option that only contains upgrade', withHeaders({ connection: 'no-upgrade' })],
    ['no version', withHeaders({ 'sec-websocket-version': undefined })],
    ['version 8', withHeaders({ 'sec-websocket-version': '8' })],
    ['version 13.0', withHeaders({ 'sec-websocket-version': '13.0' })],
    ['two versions', withHeaders({ 'sec-websocket-version': '13, 13' })],
    ['no key', withHeaders({ 'sec-websocket-key': undefined })],
    ['an empty key', withHeaders({ 'sec-websocket-key': '' })],
    ['a key of 15 bytes', withHeaders({ 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAA' })],
    ['a key of 17 bytes', withHeaders({ 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAAA=' })],
    [
      'two keys',
      withHeaders({ 'sec-websocket-key': `${HEADERS['sec-websocket-key']}, ${HEADERS['sec-websocket-key']}` }),
    ],
    ['a subprotocol', withHeaders({ 'sec-websocket-protocol': 'chat' })],
    ['a malformed subprotocol', withHeaders({ 'sec-websocket-protocol': ',' })],
    ['a body', withHeaders({ 'content-length': '5' })],
    ['a chunked body', withHeaders({ 'transfer-encoding': 'chunked' })],
  ])('the gate rejects %s without using the ticket up, and proves the reason to its peer', (_what, overrides) => {
    const gate = new Gate(newOpener(), undefined);
    const ticket = newTicket();
    const decision = gate.check(request(`/${ticket}`, overrides), NOW);
    expect(decision).toMatchObject({ admitted: undefined, reason: 'upgrade-dropped', peer: 'alice' });
    expect(sealer.refusalIn(etagOf(decision), ticket)).toEqual({ reason: 'upgrade-dropped', time: NOW });
    expect(missingIn(decision)).toMatch(/^[A-Za-z0-9/.:, -]{6,}$/);
    expect(gate.check(request(`/${ticket}`), NOW).admitted).toBeDefined();
  });

  it('the gate reports what an upgrade lacks, without any text of the request', () => {
    const missing = (overrides: Partial<UpgradeRequest>): string =>
      missingIn(new Gate(newOpener(), undefined).check(request(`/${newTicket()}`, overrides), NOW));
    // As nginx sends it by default.
    const nginx = withHeaders({ connection: 'close', upgrade: undefined });
    expect(missing({ ...nginx, httpVersion: '1.0' })).toBe('HTTP/1.0, no Upgrade, Connection: close');
    expect(missing(withHeaders({ upgrade: undefined, connection: 'keep-alive' }))).toBe(
      'no Upgrade, no Connection: upgrade',
    );
    expect(missing({ method: 'SECRET', httpVersion: '9.9' })).toBe(
      'a method other than GET, a version other than HTTP/1.1',
    );
    expect(missing(withHeaders({ upgrade: 'secret' }))).toBe('another Upgrade');
  });

  it('the gate of a full relay proves that to a peer without using its ticket up', () => {
    const gate = new Gate(newOpener(), undefined);
    const ticket = newTicket();
    const decision = gate.check(request(`/${ticket}`), NOW, true);
    expect(decision).toMatchObject({ admitted: undefined, reason: 'relay-full', peer: 'alice' });
    expect(sealer.refusalIn(etagOf(decision), ticket)?.reason).toBe('relay-full');
    expect(gate.check(request('/'), NOW, true)).toEqual({ admitted: undefined, reason: 'no-ticket' });
    expect(gate.check(request(`/${ticket}`), NOW).admitted).toBeDefined();
  });

  it.each(['https://relay', 'http://192.0.2.7:8808', 'null', ''])(
    'refuses a web page (origin %j) with any ticket that is not for one, and uses none up for it',
    (origin) => {
      const gate = new Gate(newOpener(), undefined);
      for (const features of [0, 2, 0x7fff]) {
        const url = `/${newTicket(features)}`;
        const decision = gate.check(request(url, withHeaders({ origin })), NOW);
        expect(decision).toEqual({ admitted: undefined, reason: 'from-page', peer: 'alice' });
        expect(gate.check(request(url), NOW).admitted).toBeDefined();
      }
    },
  );

  it('the gate admits a web page once with a ticket for a page, and with no other ticket', () => {
    const gate = new Gate(newOpener(), undefined);
    const page = withHeaders({ origin: 'http://192.0.2.7:8808' });
    const url = `/${newTicket(PAGE_FEATURE)}`;
    expect(gate.check(request('/', page), NOW).admitted).toBeUndefined();
    expect(gate.check(request(`/${'A'.repeat(168)}`, page), NOW).admitted).toBeUndefined();
    expect(gate.check(request(url, page), NOW).admitted).toMatchObject({ peer: 'alice', features: PAGE_FEATURE });
    expect(gate.check(request(url, page), NOW)).toMatchObject({ admitted: undefined, reason: 'replayed' });
  });

  it('the gate without a prefix finds a ticket after any path, and with a prefix only there', () => {
    const paths = ['', '/a', '/a/b', '/a/b/c', '//', '/A/B', '/a/b/', '/xa/b', '/%61/b'];
    const admitting = (prefix: string | undefined): string[] =>
      paths.filter((path) => new Gate(newOpener(), prefix).check(request(`${path}/${newTicket()}`), NOW).admitted);
    expect(admitting(undefined)).toEqual(paths);
    expect(admitting('/a/b')).toEqual(['/a/b']);
    expect(admitting('')).toEqual(['']);
  });

  it.each<[prefix: string | undefined, make: (ticket: string) => string, shown: string]>([
    ['/a/b', (ticket) => `/${ticket}`, '/…'],
    ['/a/b', (ticket) => `/b/${ticket}`, '/b/…'],
    ['', (ticket) => `/a/${ticket}`, '/a/…'],
    ['/a', (ticket) => `/a/${ticket}/`, '/a/…/'],
    [undefined, (ticket) => `/a/${ticket}/index.html`, '/a/…/index.html'],
    [undefined, (ticket) => `/a/${ticket}?key=secret`, '/a/…?…'],
    [undefined, (ticket) => `http://relay/a/${ticket}`, 'http://relay/a/…'],
    ['', (ticket) => `/${'x'.repeat(400)}/${ticket}`, `/${'x'.repeat(199)}`],
  ])('the gate proves to a peer that its request came under another path (prefix %j)', (prefix, make, shown) => {
    const gate = new Gate(newOpener(), prefix);
    const ticket = newTicket();
    const decision = gate.check(request(make(ticket)), NOW);
    expect(decision).toMatchObject({ admitted: undefined, reason: 'wrong-path', peer: 'alice', path: shown });
    expect(sealer.refusalIn(etagOf(decision), ticket)?.reason).toBe('wrong-path');
    expect(JSON.stringify(decision)).not.toContain(ticket);
    expect(gate.check(request(`${prefix ?? ''}/${ticket}`), NOW).admitted).toBeDefined();
  });

  it('the gate finds no ticket in a query, a fragment, an absolute target, or before other text', () => {
    for (const make of [
      (ticket: string) => `/?${ticket}`,
      (ticket: string) => `/?t=${ticket}`,
      (ticket: string) => `/${ticket}?`,
      (ticket: string) => `/${ticket}/`,
      (ticket: string) => `/${ticket}#`,
      (ticket: string) => `/${ticket}%20`,
      (ticket: string) => `http://relay/${ticket}`,
      (ticket: string) => ticket,
      (ticket: string) => `*${ticket}`,
      () => '*',
      () => '',
      () => '/',
    ]) {
      expect(new Gate(newOpener(), undefined).check(request(make(newTicket())), NOW).admitted).toBeUndefined();
    }
    expect(new Gate(newOpener(), undefined).check({ ...request(''), url: undefined }, NOW).admitted).toBeUndefined();
  });

  it('the gate neither admits nor throws on arbitrary targets and headers', () => {
    const gate = new Gate(newOpener(), undefined);
    fc.assert(
      fc.property(
        fc.webPath(),
        fc.dictionary(fc.constantFrom(...Object.keys(HEADERS)), fc.string()),
        (url, headers) => {
          expect(gate.check(request(url, withHeaders(headers)), NOW).admitted).toBeUndefined();
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('parsePathPrefix', () => {
  it.each([
    ['/', ''],
    ['', ''],
    ['/a', '/a'],
    ['/a/', '/a'],
    ['/a/b.c_d~e-f', '/a/b.c_d~e-f'],
  ])('parsePathPrefix reads %j as %j', (text, prefix) => {
    expect(parsePathPrefix(text)).toBe(prefix);
  });

  it.each(['a', '//', '/a//b', '/a b', '/a?b', '/a#b', '/ü', '/%41', 'http://x/', '/a\n'])(
    'parsePathPrefix rejects %j',
    (text) => {
      expect(faultOf(() => parsePathPrefix(text))).toBe('bad-option');
    },
  );
});
