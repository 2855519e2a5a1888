/** The relay's public side: HTTP servers on one or more addresses. Links are the caller's. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer as createNetServer, Server as NetServer } from 'node:net';
import { createSecureContext, createServer as createTlsServer, Server as TlsServer } from 'node:tls';
import { WstunError } from '../errors.ts';
import { expectPlainReads } from '../memory/pieces.ts';
import type { HostPort } from '../net/host-port.ts';
import { type ListenPlace, listen } from './listen.ts';
import { DEFAULT_RELAY_LIMITS, type RelayLimits } from './relay-limits.ts';
import { type FrontReadings, RequestRouter, type RequestRouterOptions, type RouterUpdate } from './request-router.ts';
import { createUpgradeChoice, type UpgradeChoice } from './upgrade-choice.ts';

export { DEFAULT_LINKS, type RelayLimits } from './relay-limits.ts';
export type { FrontReadings } from './request-router.ts';

/** Detects a peer that is gone. Later than the 45 s of silence of a link: some kernels give up 10 s after this. */
const KEEP_ALIVE_MS = 60_000;
/** How often Node checks for requests that are late. */
const LATE_CHECK_MS = 1_000;

/** PEM texts; the certificate with its chain. */
export interface TlsPair {
  readonly cert: string;
  readonly key: string;
}

export interface RelayServerOptions extends RequestRouterOptions {
  /** At least one. */
  readonly listen: readonly ListenPlace[];
  /** Without it the relay speaks plain HTTP. */
  readonly tls?: TlsPair;
  /** TLS without a certificate: no handshake succeeds before `setTls`. */
  readonly awaitsTls?: boolean;
  readonly limits?: Partial<RelayLimits>;
}

export interface RelayServer {
  /** In the order of `listen`, with the ports that the system chose. */
  readonly addresses: readonly HostPort[];
  /** How many more links it can accept. */
  readonly linksFree: number;
  readonly front: FrontReadings;
  /** For new connections. @throws WstunError bad-certificate; the previous pair stays in use */
  setTls(pair: TlsPair): void;
  /** For new connections and requests. The decoy must be of the same kind. */
  update(options: RouterUpdate): void;
  /**
   * Closes connections that are not links, and stops listening as soon as no HTTP link is left: these need further
   * connections. At once on passed sockets, where they wait for the next process. `close` must follow.
   */
  drain(): void;
  /** Stops listening and closes connections that are not links. Links stay: they are the caller's. */
  close(): void;
}

/** Listens on all addresses or on none. @throws WstunError cannot-listen, bad-passed-socket, bad-certificate */
export async function startRelayServer(options: RelayServerOptions): Promise<RelayServer> {
  const limits = { ...DEFAULT_RELAY_LIMITS, ...options.limits };
  const router = new RequestRouter(options, limits);
  const servers = options.listen.map((place) => ({ place, server: createPublicServer(options, limits, router) }));
  const close = (): void => {
    for (const { server } of servers) stopListening(server);
    router.destroyAll();
  };
  const drain = (): void => {
    for (const { place, server } of servers) if ('fd' in place) stopListening(server);
    router.drain(close);
  };
  try {
    const addresses: HostPort[] = [];
    // One after the other: `close` would not stop a server that does not listen yet.
    for (const { server, place } of servers) addresses.push(await listen(server, place, options.listen));
    for (const { server } of servers) {
      server.on('error', ({ message }) => options.logger.error({ reason: message }, 'cannot accept connections'));
    }
    const setTls = (pair: TlsPair): void => {
      const checked = checkedTls(pair);
      for (const { server } of servers) if (server instanceof TlsServer) server.setSecureContext(checked);
    };
    return {
      addresses,
      get linksFree() {
        return router.linksFree;
      },
      get front() {
        return router.readings;
      },
      setTls,
      update: (changed) => router.update(changed),
      drain,
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * Not by the `close` of an HTTP server: it would close idle connections, too, and a client of an HTTP link that may go
 * on has no others any more. Node closes them when they are idle for 5 s.
 */
function stopListening(server: NetServer): void {
  // An HTTP server then also stops looking for late requests.
  server.once('close', () => server.close());
  NetServer.prototype.close.call(server);
}

/** Without members: there is no certificate yet. */
type ServedTls = Partial<TlsPair>;

/** Undefined: plain HTTP. @throws WstunError bad-certificate */
function servedTls({ tls, awaitsTls = false }: RelayServerOptions): ServedTls | undefined {
  if (tls !== undefined) return checkedTls(tls);
  return awaitsTls ? {} : undefined;
}

const KEEP_ALIVE = { keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };

function createPublicServer(options: RelayServerOptions, limits: RelayLimits, router: RequestRouter): NetServer {
  const { upstream } = options;
  const tls = servedTls(options);
  // Its sockets may read into what a plain read of this process has left unused.
  if (tls !== undefined) expectPlainReads(false);
  if (upstream !== undefined) {
    const server = createPassingServer(tls, limits);
    router.attachUpstream(server, upstream);
    return server;
  }
  const upgrades = createUpgradeChoice();
  const server = createHttpServer(tls, limits, upgrades);
  router.attach(server, upgrades);
  return server;
}

function createHttpServer(tls: ServedTls | undefined, limits: RelayLimits, upgrades: UpgradeChoice): Server {
  const options = {
    IncomingMessage: upgrades.IncomingMessage,
    headersTimeout: limits.requestMs,
    // Of bodies: late-body.ts.
    requestTimeout: 0,
    connectionsCheckingInterval: Math.min(LATE_CHECK_MS, limits.requestMs),
    ...KEEP_ALIVE,
  };
  if (tls === undefined) return createServer(options);
  return createHttpsServer({ ...options, ...tls, handshakeTimeout: limits.requestMs });
}

/** For a site of an upstream, which reads the requests. With TLS it says what Node's server for HTTPS says. */
function createPassingServer(tls: ServedTls | undefined, limits: RelayLimits): NetServer {
  const options = { allowHalfOpen: true, noDelay: true, ...KEEP_ALIVE };
  if (tls === undefined) return createNetServer(options);
  const handshake = { handshakeTimeout: limits.requestMs, ALPNProtocols: ['http/1.1'] };
  return createTlsServer({ ...options, ...tls, ...handshake });
}

/** Node accepts an empty certificate, and would then fail in every handshake. */
function checkedTls(tls: TlsPair): TlsPair {
  try {
    const matches = new X509Certificate(tls.cert).checkPrivateKey(createPrivateKey(tls.key));
    if (!matches) throw new Error('they do not belong together');
    createSecureContext(tls);
  } catch (error) {
    throw new WstunError('bad-certificate', error instanceof Error ? error.message : '', { cause: error });
  }
  return tls;
}
