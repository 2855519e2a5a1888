/**
 * The laptop's side of a tether: serves the page, pairs with it, takes its WebSockets, and gives out links that pages carry
 * (docs/protocol.md §2.6). Whoever is on the local network can reach this port: every request is judged by host and origin first.
 */
import { createServer, type IncomingMessage, type Server, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { MessageLink } from '../transport/message-link.ts';
import { createWebSocketAcceptor } from '../transport/websocket-accept.ts';
import { Guesses } from './guesses.ts';
import { MAX_CONNECTIONS, MAX_PAIRINGS, MAX_PAIRINGS_PER_ADDRESS, NEW_CODE_AFTER_MS } from './limits.ts';
import { headersOf } from './page-file.ts';
import { Pages, type UrlMaker } from './pages.ts';
import { PairedPage } from './paired-page.ts';
import { type PairingKeys, secretToText } from './pairing.ts';
import { PairingExchange } from './pairing-exchange.ts';
import { type Claim, CODE_LIFETIME_MS, Secrets } from './secrets.ts';
import type { TetherLink } from './tether-link.ts';

const MAX_HEADER_BYTES = 8 * 1024;
/** A request is one packet. */
const REQUEST_MS = 10_000;
/** How often node looks for requests that take too long; by itself every 30 s. */
const LOOK_AT_REQUESTS_MS = 1_000;
/** For the browser to read a refusal and close: then the socket is taken back. */
const LINGER_MS = 1_000;
const LINK_PATH = /^\/link\/([0-9a-f]{32})$/;

export type TetherEvent =
  /** A code to show: the URL is the secret. */
  | { readonly type: 'code'; readonly url: string; readonly lifetimeMs: number }
  /** `again`: a page that paired before is back. */
  | { readonly type: 'paired'; readonly remote: string; readonly again: boolean }
  | { readonly type: 'lost'; readonly remote: string; readonly left: number }
  /** No phone reaches the relay; it is tried again and again. */
  | { readonly type: 'offline' }
  /** A secret that does not hold; `guesses` of this address, which has to wait so long now. */
  | { readonly type: 'refused'; readonly remote: string; readonly guesses: number; readonly waitMs: number };

export interface TetherServerOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** What the code's URL has in place of `host`, where that is no address to be reached by. */
  readonly publicHost?: string;
  readonly page: Buffer;
  /** Those of the invite: where the page may open far legs. */
  readonly relayUrls: readonly string[];
  readonly onEvent: (event: TetherEvent) => void;
  readonly logger: Logger;
}

export interface TetherServer {
  readonly address: { readonly host: string; readonly port: number };
  /** Pages that can be asked for a link. */
  readonly pages: number;
  /** Secrets that did not hold, so far. */
  readonly guesses: number;
  /** Makes a new code, in place of the one before, and tells it as an event. */
  showCode(): void;
  /** Waits for a page, however long; see `Pages.dial`. */
  dial(makeUrl: UrlMaker, signal: AbortSignal): Promise<TetherLink>;
  /** Ends all pages and their links. */
  close(): void;
}

/** @throws WstunError cannot-listen */
export async function startTetherServer(options: TetherServerOptions): Promise<TetherServer> {
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: REQUEST_MS,
    requestTimeout: REQUEST_MS,
    connectionsCheckingInterval: LOOK_AT_REQUESTS_MS,
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, options);
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : options.port;
  return new Tether(server, port, options);
}

class Tether implements TetherServer {
  readonly address: { readonly host: string; readonly port: number };
  readonly #server: Server;
  readonly #options: TetherServerOptions;
  readonly #acceptor = createWebSocketAcceptor();
  readonly #pages = new Pages(() => this.#options.onEvent({ type: 'offline' }));
  readonly #secrets = new Secrets();
  readonly #guesses = new Guesses();
  /** By the pairing's id, also those that have not said their first word. */
  readonly #paired = new Map<string, PairedPage>();
  /** Control links whose pairing is under way, and those that are about to open. */
  readonly #pairing = new Set<MessageLink>();
  /** Of these, by address. */
  readonly #underWay = new Map<string, number>();
  #opening = 0;
  #codeTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(server: Server, port: number, options: TetherServerOptions) {
    this.#server = server;
    this.#options = options;
    this.address = { host: options.publicHost ?? options.host, port };
    server.on('request', (request, response) => {
      const status = this.#judge(request);
      const isPage = status === 200;
      response
        .writeHead(status, isPage ? headersOf(options.page, this.#policyOf(request)) : PLAIN)
        .end(isPage ? options.page : '');
    });
    server.on('upgrade', (request, socket, head) => this.#handleUpgrade(request, socket, head));
    server.on('clientError', (_error, socket) => socket.destroy());
    this.showCode();
  }

  get pages(): number {
    return this.#pages.size;
  }

  get guesses(): number {
    return this.#guesses.total;
  }

  showCode(): void {
    if (this.#closed) return;
    const secret = secretToText(this.#secrets.newCode(performance.now()));
    this.#codeIn(CODE_LIFETIME_MS);
    const url = `http://${authorityOf(this.address)}/#${secret}`;
    this.#options.onEvent({ type: 'code', url, lifetimeMs: CODE_LIFETIME_MS });
  }

  dial(makeUrl: UrlMaker, signal: AbortSignal): Promise<TetherLink> {
    return this.#pages.dial(makeUrl, signal);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#codeTimer);
    this.#pages.closeAll();
    for (const page of [...this.#paired.values()]) page.close();
    for (const link of this.#pairing) link.abort();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  // ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The status of a request that is no upgrade; 200 is the page. */
  #judge(request: IncomingMessage): number {
    if (!this.#isOurHost(request)) return 403;
    if (request.url !== '/') return 404;
    return request.method === 'GET' ? 200 : 405;
  }

  /** A name that points here by a stranger's DNS is none of ours, whatever page asks. */
  #isOurHost({ headers, socket }: IncomingMessage): boolean {
    const host = headers.host?.toLowerCase();
    const local = socket.localAddress?.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '') ?? '';
    const { port } = this.address;
    const known = [this.address.host, this.#options.host, local].flatMap((name) => spellingsOf({ host: name, port }));
    return host !== undefined && known.includes(host);
  }

  #policyOf(request: IncomingMessage): { host: string; relayUrls: readonly string[] } {
    return { host: request.headers.host ?? '', relayUrls: this.#options.relayUrls };
  }

  #handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => {});
    const remote = request.socket.remoteAddress ?? 'unknown';
    const origin = `http://${request.headers.host}`.toLowerCase();
    if (!this.#isOurHost(request) || request.headers.origin?.toLowerCase() !== origin) {
      this.#options.logger.warn({ remote }, 'a web page that is not ours asked for the tether');
      return refuse(socket, 403);
    }
    const token = LINK_PATH.exec(request.url ?? '')?.[1];
    if (token !== undefined) return this.#acceptNearLeg(request, socket, head, token);
    if (request.url !== '/control') return refuse(socket, 404);
    if (this.#guesses.mustWait(remote, performance.now())) return refuse(socket, 429);
    if (this.#pairing.size + this.#opening >= MAX_PAIRINGS) return refuse(socket, 503);
    if ((this.#underWay.get(remote) ?? 0) >= MAX_PAIRINGS_PER_ADDRESS) return refuse(socket, 503);
    this.#acceptControl(request, socket, head, remote);
  }

  #acceptNearLeg(request: IncomingMessage, socket: Duplex, head: Buffer, token: string): void {
    const page = this.#pages.expecting(token);
    if (page === undefined) return refuse(socket, 404);
    let link: TetherLink | undefined;
    this.#acceptor
      .accept(request, socket, head, (text) => link?.handleText(text))
      .then((nearLeg) => {
        link = page.bring(token, nearLeg);
        if (link === undefined) nearLeg.abort();
      })
      .catch(() => socket.destroy());
  }

  // ── pairing ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

  #acceptControl(request: IncomingMessage, socket: Duplex, head: Buffer, remote: string): void {
    this.#opening += 1;
    this.#countUnderWay(remote, 1);
    this.#acceptor
      .accept(request, socket, head)
      .finally(() => {
        this.#opening -= 1;
      })
      .then(
        (link) => this.#pair(link, request.headers.host ?? '', remote),
        () => {
          this.#countUnderWay(remote, -1);
          socket.destroy();
        },
      );
  }

  #countUnderWay(remote: string, change: number): void {
    const count = (this.#underWay.get(remote) ?? 0) + change;
    if (count > 0) this.#underWay.set(remote, count);
    else this.#underWay.delete(remote);
  }

  #pair(link: MessageLink, host: string, remote: string): void {
    this.#pairing.add(link);
    new PairingExchange(link, {
      host,
      find: (id) => this.#secrets.find(id, performance.now()),
      claim: (secret, keys) => {
        const claim = this.#secrets.claim(secret, keys.rejoin, performance.now());
        return claim && (() => this.#adopt(claim, link, keys, remote));
      },
      onFailed: (guessed) => {
        this.#pairing.delete(link);
        this.#countUnderWay(remote, -1);
        if (guessed && !this.#closed) this.#noteGuess(remote);
      },
    });
  }

  #noteGuess(remote: string): void {
    const noted = this.#guesses.note(remote, performance.now());
    this.#options.logger.warn({ remote, ...noted }, 'a pairing was refused');
    this.#options.onEvent({ type: 'refused', remote, ...noted });
  }

  #adopt(claim: Claim, link: MessageLink, keys: PairingKeys, remote: string): void {
    this.#pairing.delete(link);
    this.#countUnderWay(remote, -1);
    this.#guesses.clear(remote);
    this.#paired.get(claim.page)?.replace();
    const page = new PairedPage(claim.page, link, keys, {
      onJoined: () => {
        this.#pages.add(page);
        this.#options.onEvent({ type: 'paired', remote, again: claim.kind === 'page' });
      },
      onDoubt: () => this.#pages.doubt(page),
      onLinks: () => this.#pages.assignDuties(),
      onEnd: (_page, { text }) => this.#handleEnd(page, remote, text),
    });
    this.#paired.set(claim.page, page);
    if (this.#closed) page.close();
  }

  #handleEnd(page: PairedPage, remote: string, reason: string): void {
    if (this.#paired.get(page.id) === page) this.#paired.delete(page.id);
    this.#pages.remove(page);
    this.#options.logger.debug({ remote, reason }, 'a page is gone');
    if (this.#closed) return;
    this.#options.onEvent({ type: 'lost', remote, left: this.#pages.size });
    this.#codeIn(NEW_CODE_AFTER_MS);
  }

  /** A code for whoever waits with no page at all: the one on show has run out, or the phone does not come back. */
  #codeIn(ms: number): void {
    clearTimeout(this.#codeTimer);
    this.#codeTimer = setTimeout(() => {
      if (this.#pages.size === 0) this.showCode();
    }, ms).unref();
  }
}

const PLAIN = { 'Content-Length': '0', Connection: 'close' } as const;

function refuse(socket: Duplex, status: number): void {
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
  // Nobody reads an upgraded socket: without this the other end could keep its half open, and with it one of few connections.
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref();
  socket.once('close', () => clearTimeout(timer));
}

function listen(server: Server, { host, port }: { readonly host: string; readonly port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(new WstunError('cannot-listen', `${authorityOf({ host, port })}: ${error.code ?? error.message}`)),
    );
    server.listen({ host, port }, () => resolve());
  });
}

function authorityOf({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** As `Host` and `Origin` have it: browsers leave the port of http out. */
function spellingsOf(address: { readonly host: string; readonly port: number }): string[] {
  const whole = authorityOf(address).toLowerCase();
  return address.port === 80 ? [whole, whole.replace(/:80$/, '')] : [whole];
}
