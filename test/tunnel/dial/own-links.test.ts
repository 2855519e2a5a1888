import { describe, expect, it } from 'vitest';
import { createIdentity } from '../../../src/crypto/keys.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { ConnectionOptions } from '../../../src/transport/connection/connection-dial.ts';
import type { Via } from '../../../src/transport/connection/via.ts';
import { OwnLinks } from '../../../src/tunnel/dial/connectors.ts';
import { RelayRoutes } from '../../../src/tunnel/dial/relay-routes.ts';
import { TicketDialer } from '../../../src/tunnel/dial/ticket-dialer.ts';
import { RelayList } from '../../../src/tunnel/routes/relay-list.ts';
import { memoryLinkPair } from '../../support/links/memory-link.ts';
import { never } from '../../support/never.ts';

const PROXY: Via = {
  name: 'http://10.0.0.1:3128',
  connect: () => Promise.reject(new Error('not dialled here')),
};

/** The ways of a client, and what each dials: the address, the proxy and the carrier. */
async function waysWith(proxies: readonly (Via | undefined)[]): Promise<string[]> {
  const dials: string[] = [];
  const relayUrls = ['wss://relay.example.org'];
  const dialer = new TicketDialer(
    { relayUrls, relayGateKey: createIdentity().public.gate, peer: createIdentity() },
    silentLogger,
    {
      lookup: async () => ['192.0.2.1', '192.0.2.2'].map((address) => ({ address, family: 4 })),
      dialLink: async (_url, { address, via }: ConnectionOptions, carrier) => {
        dials.push(`${address ?? '-'} ${via?.name ?? '-'} ${carrier}`);
        return memoryLinkPair()[0];
      },
    },
  );
  const routes = new RelayRoutes({ proxies: { proxiesFor: async () => proxies, hasWrongPassword: false } });
  const ways = await new OwnLinks(dialer, new RelayList(relayUrls), routes, '', true).ways();
  for (const way of ways) (await way.dial(never)).abort();
  return ways.map(({ name }, at) => `${name}: ${dials[at]}`);
}

describe('the ways of a client that uses all at once', () => {
  it('each address of a relay is a way, and each proxy is one, by the carrier that is best', async () => {
    expect(await waysWith([PROXY, undefined])).toEqual([
      '192.0.2.1:443: 192.0.2.1 - websocket',
      '192.0.2.2:443: 192.0.2.2 - websocket',
      `relay.example.org:443 through ${PROXY.name}: - ${PROXY.name} websocket`,
    ]);
  });

  it('an explicit proxy is the only way, whatever addresses the relay has', async () => {
    expect(await waysWith([PROXY])).toEqual([`relay.example.org:443 through ${PROXY.name}: - ${PROXY.name} websocket`]);
  });
});
