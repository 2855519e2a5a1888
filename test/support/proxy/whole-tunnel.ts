/**
 * All that carries bytes, in this process and over real sockets: proxy, client, what stands between (nothing, a relay's
 * splice, a page), and an exit that dials targets on loopback.
 */
import { createIdentity } from '../../../src/crypto/keys.ts';
import { importKeyPair } from '../../../src/crypto/x25519.ts';
import { WstunError } from '../../../src/errors.ts';
import { parseRule } from '../../../src/exit/rules.ts';
import { Exit, type ExitOptions } from '../../../src/exit/serving/exit.ts';
import { expectPlainReads } from '../../../src/memory/pieces.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { SessionRequest } from '../../../src/protocol/session-request.ts';
import { startProxyServer } from '../../../src/proxy/proxy-server.ts';
import { splice } from '../../../src/relay/splice.ts';
import { TetherServer } from '../../../src/tether/laptop/tether-server.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { dialWebSocket } from '../../../src/transport/websocket/websocket-dial.ts';
import { type Encryption, initiateSecureLink } from '../../../src/tunnel/dial/handshake.ts';
import type { SessionLink } from '../../../src/tunnel/dial/session-dialer.ts';
import { negotiateSession } from '../../../src/tunnel/dial/session-dialer.ts';
import { ExitSessions } from '../../../src/tunnel/session/exit-sessions.ts';
import { TunnelClient } from '../../../src/tunnel/session/tunnel-client.ts';
import { PAGE } from '../links/fake-page.ts';
import { type LinkServer, startLinkServer } from '../links/websocket-pair.ts';
import { type ChaosProxy, startChaosProxy } from '../net/chaos-proxy.ts';
import { atEnd } from '../scope.ts';
import { CarryingPage } from '../tether/carrying-page.ts';

export type Between = 'nothing' | 'splice' | 'page';

export interface WholeTunnelOptions extends Pick<ExitOptions, 'rateOf' | 'quotas'> {
  readonly encryption?: Encryption;
  readonly between?: Between;
  /** Always so many; default: one. */
  readonly links?: number;
}

export interface WholeTunnel {
  /** Of the proxy. */
  readonly port: number;
  /** Before the relay. */
  readonly chaos: ChaosProxy;
}

type DialRaw = (signal: AbortSignal) => Promise<MessageLink>;

/** Until the test is over. */
export async function startWholeTunnel(options: WholeTunnelOptions = {}): Promise<WholeTunnel> {
  // As the programs do, which no TLS socket is beside.
  expectPlainReads(true);
  atEnd(() => expectPlainReads(false));
  const [identity, peer] = [createIdentity(), createIdentity()];
  const { rateOf, quotas, encryption = 'on', between = 'nothing', links = 1 } = options;
  const sessions = new ExitSessions({
    keys: importKeyPair(identity.exposeSessionKey()),
    peerOf: () => 'alice',
    acceptor: new Exit({
      resolver: { fullNamesOf: (name) => [name], resolve: () => Promise.reject(new WstunError('dial-name-unknown')) },
      rulesFor: () => [parseRule('127.0.0.1')],
      ownEndpoints: () => ({ addresses: [], ports: [] }),
      logger: silentLogger,
      ...(rateOf === undefined ? {} : { rateOf }),
      ...(quotas === undefined ? {} : { quotas }),
    }),
    logger: silentLogger,
  });
  const relay = await startLinkServer();
  atEnd(() => relay.close());
  atEnd(() => sessions.close(0));
  serveLinks(relay, between, (link) => sessions.serve(link, 'alice'));
  const chaos = await startChaosProxy({ target: { host: '127.0.0.1', port: relay.port }, seed: 1 });
  const url = `ws://127.0.0.1:${chaos.port}/ticket`;
  const dialRaw = between === 'page' ? await byPage(url) : directly(url);
  const handshake = {
    keys: importKeyPair(peer.exposeSessionKey()),
    exitKey: identity.public.session,
    suite: 'AESGCM',
    encryption,
  } as const;
  const dial = async (request: () => SessionRequest, signal: AbortSignal): Promise<SessionLink> =>
    await negotiateSession(await initiateSecureLink(await dialRaw(signal), handshake, signal), request(), signal);
  const client = new TunnelClient({ dial }, SILENT, silentLogger, { links });
  client.run().catch(() => {});
  atEnd(() => client.close(0));
  const proxy = await startProxyServer({ host: '127.0.0.1', port: 0, opener: client, logger: silentLogger });
  atEnd(() => proxy.close(0));
  return { port: proxy.address.port, chaos };
}

const SILENT = { onConnected() {}, onLinkLost() {}, onResumed() {}, onSessionLost() {}, onFailed() {} };

/** With a splice the exit dials the relay, too, for each link of the client. */
function serveLinks(relay: LinkServer, between: Between, serve: (link: MessageLink) => void): void {
  const next = async (): Promise<void> => {
    const { link } = await relay.nextLink();
    if (between === 'splice') {
      link.pause();
      const accepted = relay.nextLink();
      serve(await directly(`ws://127.0.0.1:${relay.port}/call`)(new AbortController().signal));
      splice(link, (await accepted).link, { hasMoved: false }, () => {});
    } else serve(link);
    return await next();
  };
  next().catch(() => {});
}

function directly(url: string): DialRaw {
  return (signal) => dialWebSocket(new URL(url), { signal });
}

async function byPage(url: string): Promise<DialRaw> {
  let code = '';
  const server = new TetherServer({
    page: PAGE,
    relayUrls: [url],
    onEvent: (event) => {
      if (event.type === 'code') code = event.url;
    },
    logger: silentLogger,
  });
  atEnd(() => server.close());
  await server.serve({ host: '127.0.0.1', port: 0, publicHost: '127.0.0.1' });
  await CarryingPage.join(code);
  return (signal) => server.dial(() => url, signal);
}
