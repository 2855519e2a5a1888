/** A session whose links are carried by a WebSocket and by HTTP requests in turn. @module-tag waits */
import { expect, it } from 'vitest';
import { createIdentity } from '../../../src/crypto/keys.ts';
import { importKeyPair } from '../../../src/crypto/x25519.ts';
import { WstunError } from '../../../src/errors.ts';
import { parseRule } from '../../../src/exit/rules.ts';
import { Exit } from '../../../src/exit/serving/exit.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { startProxyServer } from '../../../src/proxy/proxy-server.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { dialWebSocket } from '../../../src/transport/websocket/websocket-dial.ts';
import { initiateSecureLink } from '../../../src/tunnel/dial/handshake.ts';
import { negotiateSession } from '../../../src/tunnel/dial/session-dialer.ts';
import { ExitSessions } from '../../../src/tunnel/session/exit-sessions.ts';
import { TunnelClient } from '../../../src/tunnel/session/tunnel-client.ts';
import { startHttpLinkServer } from '../../support/links/http-pair.ts';
import { echo, tcpServer } from '../../support/net/tcp.ts';
import { exchange } from '../../support/payload.ts';
import { connectThrough } from '../../support/proxy/through-proxy.ts';
import { atEnd } from '../../support/scope.ts';

const BYTES = 4_000_000;
/** Each link is aborted when it has carried for so long. */
const LINK_MS = 500;

it('a session goes on from a WebSocket to an HTTP link and back in the middle of transfers', {
  timeout: 180_000,
}, async () => {
  const [identity, peer] = [createIdentity(), createIdentity()];
  const sessions = new ExitSessions({
    keys: importKeyPair(identity.exposeSessionKey()),
    peerOf: () => 'alice',
    acceptor: new Exit({
      resolver: { fullNamesOf: (name) => [name], resolve: () => Promise.reject(new WstunError('dial-name-unknown')) },
      rulesFor: () => [parseRule('127.0.0.1')],
      ownEndpoints: () => ({ addresses: [], ports: [] }),
      logger: silentLogger,
    }),
    logger: silentLogger,
  });
  const server = await startHttpLinkServer({ onLink: (link) => sessions.serve(link, 'alice') });
  atEnd(() => server.close());
  atEnd(() => sessions.close(0));
  const carried = { http: 0, websocket: 0 };
  const dialRaw = async (signal: AbortSignal): Promise<MessageLink> => {
    const carrier = carried.http < carried.websocket ? 'http' : 'websocket';
    const ticket = server.sealer.seal({ role: 'client', destination: '', protocol: 1, features: 0 }, Date.now());
    const url = new URL(`ws://127.0.0.1:${server.port}/${ticket}`);
    const link = carrier === 'http' ? await server.dial({ signal }) : await dialWebSocket(url, { signal });
    carried[carrier] += 1;
    if (carried.http + carried.websocket < 4) setTimeout(() => link.abort(), LINK_MS);
    return link;
  };
  const handshake = {
    keys: importKeyPair(peer.exposeSessionKey()),
    exitKey: identity.public.session,
    suite: 'AESGCM',
    encryption: 'on',
  } as const;
  const lost: string[] = [];
  const events = {
    onConnected() {},
    onLinkLost() {},
    onResumed() {},
    onSessionLost: () => lost.push('lost'),
    onFailed() {},
  };
  const client = new TunnelClient(
    {
      dial: async (request, signal) =>
        await negotiateSession(await initiateSecureLink(await dialRaw(signal), handshake, signal), request(), signal),
    },
    events,
    silentLogger,
    { links: 1 },
  );
  client.run().catch(() => {});
  atEnd(() => client.close(0));
  const proxy = await startProxyServer({ host: '127.0.0.1', port: 0, opener: client, logger: silentLogger });
  atEnd(() => proxy.close(0));
  const target = await tcpServer(echo);
  const one = async (_: unknown, lane: number): Promise<void> => {
    const socket = await connectThrough('SOCKS5', proxy.address.port, target);
    const { sent, received } = await exchange(socket, BYTES, lane);
    expect(received).toEqual({ bytes: BYTES, hash: sent });
  };
  await Promise.all(Array.from({ length: 8 }, one));
  expect(carried.http).toBeGreaterThan(0);
  expect(carried.websocket).toBeGreaterThan(1);
  expect(lost).toEqual([]);
});
