/**
 * A client and an exit in this process, over real WebSockets that lead through a chaos proxy: the exit echoes every
 * stream.
 */

import { createIdentity } from '../../../src/crypto/keys.ts';
import { importKeyPair } from '../../../src/crypto/x25519.ts';
import type { WstunError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { SessionRequest } from '../../../src/protocol/session-request.ts';
import { dialWebSocket } from '../../../src/transport/websocket/websocket-dial.ts';
import { initiateSecureLink } from '../../../src/tunnel/dial/handshake.ts';
import type { SessionLink } from '../../../src/tunnel/dial/session-dialer.ts';
import { negotiateSession } from '../../../src/tunnel/dial/session-dialer.ts';
import { ExitSessions } from '../../../src/tunnel/session/exit-sessions.ts';
import { type ClientObserver, TunnelClient } from '../../../src/tunnel/session/tunnel-client.ts';
import { ECHO } from '../links/echoing.ts';
import { startLinkServer } from '../links/websocket-pair.ts';
import { type ChaosProxy, startChaosProxy } from '../net/chaos-proxy.ts';
import { atEnd } from '../scope.ts';

export interface EchoTunnel {
  readonly proxy: ChaosProxy;
  readonly client: TunnelClient;
  readonly exit: ExitSessions;
  /** `lost`, `resumed`, `session lost`, …, in order. */
  readonly log: string[];
}

/** Until the test is over. */
export async function startEchoTunnel(seed: number): Promise<EchoTunnel> {
  const [identity, peer] = [createIdentity(), createIdentity()];
  const exit = new ExitSessions({
    keys: importKeyPair(identity.exposeSessionKey()),
    peerOf: () => 'alice',
    acceptor: ECHO,
    logger: silentLogger,
  });
  const server = await startLinkServer();
  const serve = (): void => void server.nextLink().then(({ link }) => [exit.serve(link, 'alice'), serve()]);
  serve();
  const proxy = await startChaosProxy({ target: { host: '127.0.0.1', port: server.port }, seed });
  const handshake = {
    keys: importKeyPair(peer.exposeSessionKey()),
    exitKey: identity.public.session,
    suite: 'AESGCM',
    encryption: 'on',
  } as const;
  const dial = async (request: () => SessionRequest, signal: AbortSignal): Promise<SessionLink> => {
    const raw = await dialWebSocket(new URL(`ws://127.0.0.1:${proxy.port}/`), { signal });
    return await negotiateSession(await initiateSecureLink(raw, handshake, signal), request(), signal);
  };
  const log: string[] = [];
  const client = new TunnelClient({ dial }, observerOf(log), silentLogger);
  client.run().catch((error: WstunError) => log.push(`ended ${error.fault}`));
  atEnd(async () => {
    await client.close(0);
    await exit.close(0);
    await server.close();
  });
  return { proxy, client, exit, log };
}

function observerOf(log: string[]): ClientObserver {
  return {
    onConnected: () => void log.push('connected'),
    onLinkLost: () => void log.push('lost'),
    onResumed: () => void log.push('resumed'),
    onSessionLost: ({ fault }) => void log.push(`session lost: ${fault}`),
    onFailed: ({ fault }) => void log.push(`failed: ${fault}`),
  };
}
