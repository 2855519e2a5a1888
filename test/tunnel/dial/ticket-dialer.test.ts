import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createIdentity } from '../../../src/crypto/keys.ts';
import { openWithAny, TicketOpener, type TicketRequest } from '../../../src/crypto/ticket.ts';
import { FAULTS, WstunError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { startRelayServer } from '../../../src/relay/relay-server.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { TicketDialer } from '../../../src/tunnel/dial/ticket-dialer.ts';
import { trusting } from '../../support/links/trusting.ts';
import { makeCertificate } from '../../support/programs/certificate.ts';

const HOUR = 3_600_000;
const PLACE = { role: 'client', destination: '' } as const;

const relay = createIdentity();
const alice = createIdentity();

function dialerFor(url: string): TicketDialer {
  return new TicketDialer({ relayUrls: [url], relayGateKey: relay.public.gate, peer: alice }, silentLogger);
}

function openerOfAlice(): TicketOpener {
  const opener = new TicketOpener(relay);
  opener.setPeers([{ name: 'alice', gateKey: alice.public.gate, role: 'client', destination: '' }]);
  return opener;
}

/** The fault, or the link. */
async function dial(dialer: TicketDialer, url: string, ca?: string): Promise<MessageLink | WstunError> {
  const options = { signal: new AbortController().signal, ...(ca !== undefined && { reach: trusting(ca) }) };
  return await dialer.dial(url, PLACE, options).then(
    (link) => {
      onTestFinished(() => link.abort());
      return link;
    },
    (error: unknown) => {
      if (!(error instanceof WstunError)) throw error;
      return error;
    },
  );
}

/** A server that answers every request so. */
async function web(
  answer: (ticket: string, request: IncomingMessage, response: ServerResponse) => void,
  tls?: { cert: string; key: string },
): Promise<string> {
  const handle = (request: IncomingMessage, response: ServerResponse): void =>
    answer(request.url?.slice(1) ?? '', request, response);
  const server = tls === undefined ? createServer(handle) : createTlsServer(tls, handle);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return tls === undefined ? `ws://127.0.0.1:${port}` : `wss://localhost:${port}`;
}

/** As a relay whose clock is so many ms ahead of ours; with what the gate would find in front of it. */
async function relayAt(aheadMs: number, request: TicketRequest = {}): Promise<{ url: string; opener: TicketOpener }> {
  const opener = openerOfAlice();
  const server = await startRelayServer({
    listen: [{ host: '127.0.0.1', port: 0 }],
    tickets: {
      open: (ticket, now, of) => {
        const verdict = openWithAny([opener], ticket, now + aheadMs, { ...of, ...request });
        while (opener.hasClocksToFind) opener.findClocks(1_000, now + aheadMs);
        return verdict;
      },
    },
    onLink: (link) => link.setHandler({ handleMessage() {}, handleDrain() {}, handleClose() {} }),
    // Neither in the answer of this relay nor in that of many fronts there is a `Date` that helps.
    decoy: (_request, response) => {
      response.sendDate = false;
      response.statusCode = 404;
      response.end();
    },
    logger: silentLogger,
  });
  onTestFinished(() => server.close());
  return { url: `ws://127.0.0.1:${server.addresses[0]?.port}`, opener };
}

describe('TicketDialer and what a relay proves', () => {
  it.each(['upgrade-dropped', 'wrong-path', 'relay-full'] as const)(
    'TicketDialer rejects with the reason that the relay proves: %s',
    async (obstacle) => {
      const { url } = await relayAt(0, { obstacle });
      const error = await dial(dialerFor(url), url);
      expect(error).toMatchObject({ fault: obstacle, detail: expect.stringContaining('127.0.0.1') });
      expect(FAULTS[obstacle].class).toBe('network');
    },
  );

  it('TicketDialer corrects a clock, however far off, by the relay’s proof at the second attempt or the third', async () => {
    for (const aheadMs of [130_000, -130_000, 5 * HOUR, -5 * HOUR, 23 * HOUR]) {
      const { url } = await relayAt(aheadMs);
      const dialer = dialerFor(url);
      const first = await dial(dialer, url);
      const link = first instanceof WstunError ? await dial(dialer, url) : first;
      expect([aheadMs, link]).toEqual([aheadMs, expect.objectContaining({ remote: expect.any(String) })]);
    }
  });

  it('TicketDialer believes a relay’s proof through any status and front end, and nothing else', async () => {
    const opener = openerOfAlice();
    const url = await web((ticket, _request, response) => {
      const verdict = opener.open(ticket, Date.now(), { obstacle: 'upgrade-dropped' });
      const etag = verdict.admitted ? '' : (verdict.etag ?? '');
      response.writeHead(502, { ETag: `W/${etag.replace(/"$/, '-gzip"')}`, Server: 'nginx' }).end();
    });
    const error = await dial(dialerFor(url), url);
    expect(error).toMatchObject({ fault: 'upgrade-dropped', detail: expect.stringContaining('502 from nginx') });

    const sent: string[] = [];
    const replaying = await web((ticket, _request, response) => {
      const verdict = opener.open(ticket, Date.now(), { obstacle: 'relay-full' });
      sent.push(verdict.admitted ? '' : (verdict.etag ?? ''));
      response.writeHead(404, { ETag: sent[0] }).end();
    });
    const dialer = dialerFor(replaying);
    expect(await dial(dialer, replaying)).toMatchObject({ fault: 'relay-full' });
    expect(await dial(dialer, replaying)).toMatchObject({ fault: 'relay-refused' });
  });
});

describe('TicketDialer and the Date of an answer', () => {
  /** Answers with a Date so far ahead, and keeps the tickets. */
  async function dated(aheadMs: number, tls?: { cert: string; key: string }) {
    const tickets: string[] = [];
    const url = await web((ticket, _request, response) => {
      tickets.push(ticket);
      response.writeHead(404, { Date: new Date(Date.now() + aheadMs).toUTCString() }).end();
    }, tls);
    return { url, tickets };
  }

  const opensAt = (ticket: string | undefined, aheadMs: number): boolean =>
    openerOfAlice().open(ticket ?? '', Date.now() + aheadMs).admitted;

  it('TicketDialer seals no ticket for more than an hour ahead by a Date over ws://, which may be forged', async () => {
    const { url, tickets } = await dated(30 * 24 * HOUR);
    const dialer = dialerFor(url);
    for (let i = 0; i < 3; i++) expect(await dial(dialer, url)).toMatchObject({ fault: 'relay-refused' });
    expect(tickets).toHaveLength(3);
    for (const ticket of tickets) expect([opensAt(ticket, 0), opensAt(ticket, 30 * 24 * HOUR)]).toEqual([true, false]);
    expect(await dial(dialer, url)).toMatchObject({ detail: expect.stringMatching(/clock .* behind/) });
  });

  it.each([HOUR / 2, -HOUR / 2, -30 * 24 * HOUR])(
    'TicketDialer corrects a clock by %i ms by the Date over ws://',
    async (aheadMs) => {
      const { url, tickets } = await dated(aheadMs);
      await dial(dialerFor(url), url);
      expect(tickets).toHaveLength(2);
      expect(opensAt(tickets[1], aheadMs)).toBe(true);
    },
  );

  it('TicketDialer corrects any clock by the Date over TLS', async () => {
    const certificate = makeCertificate();
    const { url, tickets } = await dated(30 * 24 * HOUR, certificate);
    await dial(dialerFor(url), url, certificate.cert);
    expect(tickets).toHaveLength(2);
    expect(opensAt(tickets[1], 30 * 24 * HOUR)).toBe(true);
  });

  it('TicketDialer does not follow a Date away from the time that the relay has proved', async () => {
    const { url, opener } = await relayAt(5 * HOUR);
    const dialer = dialerFor(url);
    await dial(dialer, url);
    await dial(dialer, url);
    const pass = dialer.ticketUrl(url, PLACE);
    expect(opener.open(pass.url.pathname.slice(1), Date.now() + 5 * HOUR)).toMatchObject({ admitted: true });
  });
});

it('TicketDialer seals tickets for an hour ahead at most for a page whose clock claims to be days ahead', () => {
  const dialer = dialerFor('ws://relay');
  const pass = dialer.ticketUrl('ws://relay', PLACE, Date.now() + 30 * 24 * HOUR);
  const ticket = pass.url.pathname.slice(1);
  expect(openerOfAlice().open(ticket, Date.now() + HOUR)).toMatchObject({ admitted: true });
  expect(openerOfAlice().open(ticket, Date.now() + 30 * 24 * HOUR)).toMatchObject({ reason: 'unknown' });
});
