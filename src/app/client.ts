/** A client: a proxy on this machine, and the session that carries its connections. No output, signals or flags. */
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '../clock.ts';
import { decodeInvite, type Invite, withRelays } from '../crypto/invite.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { type Logger, silentLogger } from '../observability/logger.ts';
import { requireCredentials } from '../proxy/credentials.ts';
import { refuseOpenToNetwork } from '../proxy/listen-check.ts';
import type { OwnPages } from '../proxy/own-answers.ts';
import { DEFAULT_PROXY_LIMITS } from '../proxy/proxy-limits.ts';
import { type ProxyServer, startProxyServer } from '../proxy/proxy-server.ts';
import { targetOfAuthority } from '../proxy/request-target.ts';
import { DialledPlaces } from '../transport/connection/dialled-places.ts';
import type { Reach } from '../transport/connection/reach.ts';
import { formatPin } from '../transport/connection/tls-pin.ts';
import { RelaySessionDialer, refuseUnsealed } from '../tunnel/dial/session-dialer.ts';
import type { LinkUse } from '../tunnel/reconnect/link-limits.ts';
import { ClientCounts } from '../tunnel/session/client-counts.ts';
import type { LinkCount } from '../tunnel/session/extra-links.ts';
import { type ClientObserver, type ToldRelays, TunnelClient } from '../tunnel/session/tunnel-client.ts';
import { type Admin, openAdmin } from './admin.ts';
import { BrowserCarrier, type BrowserNotice } from './browser-carrier.ts';
import { clientMetrics, whyClientNotReady } from './client-metrics.ts';
import { type ClientService, makeServices, type ServiceEvents, type ServiceOptions } from './client-services.ts';
import { clientStatus, placeOf } from './client-status.ts';
import { type DescriptorGuard, watchDescriptors } from './descriptor-guard.ts';
import { readForwards } from './forwarding.ts';
import { refuseOpenNameServer } from './name-serving.ts';
import { followNetwork } from './network-following.ts';
import { DRAIN_MS, requireShapes } from './options.ts';
import { whenListening } from './own-address.ts';
import { ownPagesOf } from './own-pages.ts';
import { checkProxyFile, type ProxyOptions } from './proxy-options.ts';
import { type ReachOptions, reachOf, warnOfPages } from './reach-options.ts';
import { RelayLearning } from './relay-learning.ts';
import { ReplaceableProxies, ReplaceableReach } from './replaceable.ts';
import { type Networks, openNetworks, type RouteNotice, type RouteOptions, routesOf } from './route-options.ts';
import type { ClientStatus, PingStatus } from './status.ts';
import { Tether, type TetherNotice } from './tether.ts';
import { TrafficMeter } from './traffic-meter.ts';

/** Links, and Node's own. */
const DESCRIPTORS_BESIDE_PROGRAMS = 100;
const { maxConnections, maxAssociations } = DEFAULT_PROXY_LIMITS;

/** The other end takes 20 a second of a session, and ends one that sends more. */
const PING_SPACING_MS = 200;
const PING_LIMIT_MS = 10_000;
const NEVER = new AbortController().signal;

const DEFAULT_LISTEN: HostPort = { host: '127.0.0.1', port: 1080 };

/** As of ClientObserver: each is called when it has happened, and must not throw. */
export interface ClientEvents extends ClientObserver, ServiceEvents {
  /** Of the tether: codes to show, phones that come and go. */
  onTether?(notice: TetherNotice): void;
  /** Of the browser that carries the links. */
  onBrowser?(notice: BrowserNotice): void;
  /** Links go by another route than before, or a dial takes long: what is tried, and what was in the way. */
  onRoute?(notice: RouteNotice): void;
  /**
   * The exit has told of other relays, or of other keys of theirs, which are used from now on. `invite` is the one that
   * was given, with these, for the next start: a secret. `relays` are URLs, best first.
   */
  onRelays?(info: { readonly relays: readonly string[]; readonly invite: string }): void;
}

export interface ClientOptions extends ProxyOptions, ReachOptions, RouteOptions, ServiceOptions {
  /** `wstun1_…` */
  readonly invite: string;
  /** Of the proxy. Port 0: any free one. Default: 127.0.0.1, port 1080. */
  readonly listen?: HostPort;
  /** What programs must give, 1 to 255 bytes each, the name without a colon. Default: nothing. */
  readonly credentials?: { readonly user: string; readonly pass: string };
  /** True: other machines may use the proxy without credentials. Default: false. */
  readonly allowLan?: boolean;
  /** `off` is possible only over wss:// to the relay's own exit. Default: on. */
  readonly encryption?: 'on' | 'off';
  /** How long the session is kept without a link, ms, 0 to 86,400,000. Default: 120,000. */
  readonly resumeWindowMs?: number;
  /** Links that carry the session at once, 1 to 8. Default: `auto`, as many as are of use, at most 6. */
  readonly links?: LinkCount;
  /**
   * True: uses all ways at once, which are this machine and each phone, and each address of the relays. Default: false,
   * the better one carries and another stands by.
   */
  readonly bond?: boolean;
  /** A link carries at most this each way, bytes, 4,096 or more; then another does. Default: what is learnt. */
  readonly linkMaxBytes?: number;
  /** A link is used no longer than this, ms, at least 2,000. Default: what is learnt. */
  readonly linkMaxAgeMs?: number;
  /** True: gives up at the first failure or, once connected, at the first that lasts 10 s. Default: false. */
  readonly once?: boolean;
  /** Serves a page by which phones carry links; true: at the machine's local address, port 8808. Default: no page. */
  readonly tether?: HostPort | true;
  /**
   * Only a browser on this machine, which the client starts, carries links, and phones with `tether`. True: any that is
   * found. `open`: a tab of the default browser. Else a program. Default: no browser.
   */
  readonly viaBrowser?: string | true;
  /** More arguments for that program. Default: none. */
  readonly browserArgs?: readonly string[];
  /**
   * A directory in which it keeps what works in which network, 0700 and made if it is missing; two clients may share
   * it. It names no network and no proxy. Default: that is forgotten at the end.
   */
  readonly state?: string;
  /**
   * Hosts that the PAC file of the proxy's port sends past the tunnel, as in NO_PROXY: names with all below them,
   * addresses and networks, each with a port if only that is meant. Default: loopback, which always goes direct.
   */
  readonly pacDirect?: readonly string[];
  /** False: only phones carry links. Default: true. */
  readonly direct?: boolean;
  /**
   * Resolves names, of the relay and of a proxy to it; rejects with an Error that has a `code`. Default: the system.
   */
  readonly lookup?: (host: string) => Promise<readonly { readonly address: string; readonly family: number }[]>;
  /**
   * Hears of each address, of the relay or of a proxy to it, before TCP goes there, and is waited for: a route to it
   * can be made. Must not throw; where its promise rejects, TCP does not go there. Default: nobody hears of it.
   */
  readonly beforeDial?: (place: HostPort) => Promise<void> | undefined;
  /** Where GET /healthz, /readyz and /metrics are answered (docs/metrics.md). Default: nowhere. */
  readonly admin?: HostPort;
  readonly events?: ClientEvents;
  /** Default: nothing is logged. */
  readonly logger?: Logger;
}

/** What can change while a client runs; whatever is left out has its default again. */
export type ClientUpdate = ProxyOptions & ReachOptions & Pick<ClientOptions, 'credentials' | 'allowLan'>;

export interface Client {
  /** The proxy's address. */
  readonly listen: HostPort;
  /** `HOST:PORT` of the admin pages. */
  readonly admin: string | undefined;
  /** Rejects with a WstunError when no further attempt could help; resolves when it is closed. */
  readonly ended: Promise<void>;
  /** Tries a new link now, for every session. Changes of the network do that too. */
  reconnect(): void;
  /**
   * What it is at the moment. Cheap, and nothing runs for it between two calls: the rates are those since the first
   * call within the last 5 s, so they are 0 at the first one. It holds no secret, but destinations.
   */
  status(): ClientStatus;
  /**
   * Puts other options in force: for the next links, and for connections of programs from now on. `reconnect` makes
   * the links of now follow, too. What fails changes nothing.
   * @throws WstunError bad-option, bad-credentials, open-to-network, bad-certificate, encryption-needed, bad-proxy,
   * proxy-file-unusable
   */
  update(options: ClientUpdate): Promise<void>;
  /**
   * The round trip to where targets are dialled, within 10 s; with a target the time until a connection to it was open
   * there, which is closed at once. At most 5 times a second: others wait.
   * @throws WstunError not-connected, ping-lost, bad-address, or what became of the connection
   */
  ping(target?: HostPort, signal?: AbortSignal): Promise<PingStatus>;
  /** Shows a new code, as an event, and opens the tab of `viaBrowser` again. Without both nothing happens. */
  showCode(): void;
  /**
   * Closes the proxy's port, lets connections finish for `graceMs` (default 30,000), then resets them. Resolves when
   * everything is closed. May be called again, to shorten the time. Never rejects.
   */
  close(graceMs?: number): Promise<void>;
}

/**
 * Resolves when the proxy listens; the first session follows. What fails leaves nothing open.
 * @throws WstunError invite-missing, invite-malformed, invite-for-exit, open-to-network, encryption-needed, bad-option,
 * bad-credentials, bad-direct-rule, bad-certificate, cannot-listen, browser-missing, bad-proxy, proxy-file-unusable
 */
export async function startClient(options: ClientOptions): Promise<Client> {
  if (options?.invite === undefined) throw new WstunError('invite-missing');
  requireShapes(options);
  if (options.bond === true && options.links === 1)
    throw new WstunError('bad-option', 'bond needs a link on each way, so links must not be 1', {
      fix: 'Leave out one of the two.',
    });
  refuseUnused(options);
  const invite = decodeInvite(options.invite);
  const { listen = DEFAULT_LISTEN, credentials, allowLan = false } = options;
  if (invite.role === 'exit') throw new WstunError('invite-for-exit');
  if (credentials !== undefined) requireCredentials(credentials);
  refuseOpenToNetwork({ host: listen.host, hasCredentials: credentials !== undefined, allowLan });
  if (options.encryption === 'off') refuseUnsealed(invite, carriedByPage(options));
  await checkProxyFile(options);
  const { logger = silentLogger } = options;
  const reach = await reachOf(options, invite, { logger, unsealed: options.encryption === 'off' });
  if (carriedByPage(options)) warnOfPages(options, invite, logger);
  const networks = await openNetworks(options.state, logger);
  const client = new RunningClient(options, invite, reach, networks);
  try {
    await client.start(options, listen);
    return client;
  } catch (error) {
    await client.close(0);
    throw error;
  }
}

/** What an update is checked against. */
type Fixed = Pick<
  ClientOptions,
  'viaBrowser' | 'browserArgs' | 'transport' | 'encryption' | 'tether' | 'dnsListen' | 'forwards'
> & {
  /** As it is now: an exit can tell of other relays. */
  to: Pick<Invite, 'relayUrls' | 'tlsPins' | 'exitName'>;
};

class RunningClient implements Client {
  listen = DEFAULT_LISTEN;
  ended: Promise<void> = Promise.resolve();
  private readonly logger: Logger;
  private readonly descriptors: DescriptorGuard;
  private readonly network: { stop(): void };
  private readonly proxies: ReplaceableProxies;
  private readonly reach: ReplaceableReach;
  private readonly fixed: Fixed;
  private readonly tether: Tether | undefined;
  private readonly browser: BrowserCarrier | undefined;
  private readonly tunnel: TunnelClient;
  private readonly learning: RelayLearning;
  private readonly meter = new TrafficMeter();
  private readonly dialled = new DialledPlaces();
  private readonly own: OwnPages;
  private adminPages: Admin | undefined;
  private nextPingAt = 0;
  private proxy: ProxyServer | undefined;
  private services: Required<ClientService> | undefined;
  /** Rejects `ended`. */
  private giveUp: (error: WstunError) => void = () => {};

  constructor(
    options: ClientOptions,
    invite: Invite,
    reach: Reach,
    private readonly networks: Networks,
  ) {
    const { logger = silentLogger } = options;
    this.logger = logger;
    this.fixed = fixedOf(options, invite);
    const { lookup, beforeDial } = options;
    this.reach = new ReplaceableReach(reach, {
      lookup,
      beforeConnect: (place) => {
        this.dialled.note(place);
        return beforeDial?.(place);
      },
    });
    this.proxies = new ReplaceableProxies(options, reach, () => this.reconnect(), logger);
    this.tether = this.createTether(options, invite);
    this.browser = this.createBrowser(options, invite);
    const counts = new ClientCounts(options.admin !== undefined);
    const dialer = this.createDialer(options, invite, counts);
    this.learning = this.createLearning(options, invite, dialer);
    this.tunnel = this.createTunnel(options, dialer, counts);
    this.own = ownPagesOf(options.pacDirect, () => this.status());
    this.descriptors = watchDescriptors(logger, maxConnections + maxAssociations + DESCRIPTORS_BESIDE_PROGRAMS);
    this.network = followNetwork(this, logger);
  }

  async start(options: ClientOptions, listen: HostPort): Promise<void> {
    const { tunnel: opener, logger } = this;
    const { credentials, admin } = options;
    if (admin !== undefined) await this.openAdmin(admin);
    this.services = await makeServices(options, { tunnel: opener, logger, dialled: this.dialled });
    await this.tether?.start();
    const starting = startProxyServer({ ...listen, opener, listeners: opener, logger, credentials, own: this.own });
    this.proxy = await whenListening([listen], starting);
    this.listen = this.proxy.address;
    await this.services.start();
    const givenUp = new Promise<never>((_resolve, reject) => {
      this.giveUp = reject;
    });
    this.ended = Promise.race([this.tunnel.run(), givenUp]);
    // Whoever does not ask for it is not to be ended by it.
    this.ended.catch(() => {});
    await this.browser?.start(this.listen.port);
    // The network may have changed while the tether started.
    this.tether?.look();
  }

  get admin(): string | undefined {
    return this.adminPages && formatHostPort(this.adminPages.address);
  }

  reconnect(): void {
    this.tether?.look();
    this.tunnel.reconnectNow('network-changed');
  }

  status(): ClientStatus {
    const { listen, meter, services } = this;
    const { relayUrls: relays, exitName } = this.fixed.to;
    const facts = { listen, relays, exitName, services: services?.status() ?? {}, meter, now: systemClock.now() };
    return clientStatus(this.tunnel.status(), facts);
  }

  async update(options: ClientUpdate): Promise<void> {
    requireShapes(options);
    const { fixed, logger } = this;
    const { credentials, allowLan = false } = options;
    refuseUnused({ ...fixed, ...options });
    if (credentials !== undefined) requireCredentials(credentials);
    refuseOpenToNetwork({ host: this.listen.host, hasCredentials: credentials !== undefined, allowLan });
    refuseOpenNameServer(fixed.dnsListen, allowLan);
    if (fixed.forwards !== undefined) await readForwards(fixed.forwards, allowLan);
    await checkProxyFile(options);
    const reach = await reachOf(options, fixed.to, { logger, unsealed: fixed.encryption === 'off' });
    await this.proxies.replace(options, reach);
    this.reach.replace(reach);
    this.proxy?.setCredentials(credentials);
  }

  async ping(target?: HostPort, signal: AbortSignal = NEVER): Promise<PingStatus> {
    const waitMs = this.nextPingAt - systemClock.now();
    this.nextPingAt = Math.max(this.nextPingAt, systemClock.now()) + PING_SPACING_MS;
    if (waitMs > 0) await delay(waitMs, undefined, { signal, ref: false });
    const ms = target === undefined ? await this.tunnel.ping(PING_LIMIT_MS, signal) : await this.open(target, signal);
    const { relay, exit, route } = this.status();
    return { ms: Math.round(ms * 10) / 10, relay, exit, ...(route && { route }) };
  }

  /** How long it took, ms. */
  private async open(place: HostPort, signal: AbortSignal): Promise<number> {
    const target = targetOfAuthority(formatHostPort(place));
    if (target === undefined) throw new WstunError('bad-address', formatHostPort(place), { fix: '' });
    const since = systemClock.now();
    const stream = await this.tunnel.open(target, signal);
    const ms = systemClock.now() - since;
    stream.destroy();
    return ms;
  }

  showCode(): void {
    this.tether?.showCode();
    this.browser?.reopen();
  }

  async close(graceMs = DRAIN_MS): Promise<void> {
    this.network.stop();
    this.learning.stop();
    await this.proxies.stop();
    // Who has no stream yet is not waited for.
    this.tunnel.drain();
    await Promise.all([this.proxy?.close(graceMs), this.services?.close(graceMs)]);
    await this.tunnel.close(0);
    this.tether?.close();
    this.browser?.close();
    this.descriptors.stop();
    await this.networks.close();
    this.adminPages?.close();
  }

  private async openAdmin(place: HostPort): Promise<void> {
    const { tunnel, logger } = this;
    const whyNotReady = () => {
      const { state, outage } = tunnel.status();
      return whyClientNotReady(state, outage?.error?.code);
    };
    const source = { collect: () => clientMetrics(tunnel.readings(), tunnel.counts) };
    this.adminPages = await openAdmin(place, { role: 'client', sources: [source], whyNotReady, logger });
  }

  private createTether(
    { tether: listen, bond = false, events }: ClientOptions,
    { relayUrls }: Invite,
  ): Tether | undefined {
    if (listen === undefined) return undefined;
    const onNotice = (notice: TetherNotice) => events?.onTether?.(notice);
    const onJoined = () => this.tunnel.reconnectNow('new-connector');
    return new Tether({ listen, relayUrls, onNotice, onJoined, logger: this.logger, bond });
  }

  private createBrowser(
    { viaBrowser: browser, browserArgs: args = [], once = false, events }: ClientOptions,
    { relayUrls, tlsPins: pins = [] }: Invite,
  ): BrowserCarrier | undefined {
    if (browser === undefined) return undefined;
    const onNotice = (notice: BrowserNotice) => events?.onBrowser?.(notice);
    const onJoined = () => this.tunnel.reconnectNow('new-connector');
    const onNotStarted = (error: WstunError) => once && this.giveUp(error);
    const { logger } = this;
    return new BrowserCarrier({ browser, args, relayUrls, pins, onNotice, onNotStarted, onJoined, logger });
  }

  private createDialer(options: ClientOptions, invite: Invite, counts: ClientCounts): RelaySessionDialer {
    const { tether, logger, reach } = this;
    const { encryption = 'on', direct = true, events = {} } = options;
    const pages = tether && { pages: tether.pages, direct };
    const { memory, known } = this.networks;
    const routes = routesOf(options, memory, this.proxies, (notice) => events.onRoute?.(notice));
    return new RelaySessionDialer(invite, encryption, logger, {
      ...{ reach, routes, known },
      tether: pages,
      browser: this.browser?.pages,
      handshakeTime: counts.handshakeTime,
    });
  }

  /** What is learnt holds for the next links. The present one stays, unless a better relay takes its place. */
  private createLearning(options: ClientOptions, invite: Invite, dialer: RelaySessionDialer): RelayLearning {
    const { invite: text, events = {} } = options;
    return new RelayLearning(invite, {
      clock: systemClock,
      usePins: (pins) => this.reach.tls.learnPins(pins.map(formatPin)),
      use: (urls) => {
        if (dialer.learnRelays(urls)) this.tunnel.followRelays();
        return dialer.relays;
      },
      onLearnt: (learnt) => {
        this.fixed.to = { ...learnt, exitName: invite.exitName };
        const { relayUrls: relays, tlsPins } = learnt;
        this.logger.debug({ relays: relays.map(placeOf) }, 'the exit has told of other relays');
        events.onRelays?.({ relays, invite: withRelays(text, relays, tlsPins) });
      },
    });
  }

  private createTunnel(options: ClientOptions, dialer: RelaySessionDialer, counts: ClientCounts): TunnelClient {
    const { logger } = this;
    const { once = false, bond = false, resumeWindowMs, events = {} } = options;
    const linkUse = linkUseOf(options);
    const limits = {
      ...{ once, links: options.links ?? 'auto', linkUse, counts },
      ...(resumeWindowMs !== undefined && { resumeWindowMs }),
      ...(bond && { findWays: () => dialer.ways() }),
      onRelays: (told: ToldRelays) => this.learning.handle(told),
    };
    return new TunnelClient(dialer, events, logger, limits);
  }
}

function fixedOf(options: ClientOptions, { relayUrls, tlsPins, exitName }: Invite): Fixed {
  const { viaBrowser, browserArgs, transport, encryption, tether, dnsListen, forwards } = options;
  return {
    ...(viaBrowser !== undefined && { viaBrowser }),
    ...(browserArgs && { browserArgs }),
    ...(transport && { transport }),
    ...(encryption && { encryption }),
    ...(tether && { tether }),
    ...(dnsListen && { dnsListen }),
    ...(forwards && { forwards }),
    to: { relayUrls, tlsPins, exitName },
  };
}

/** An option without an effect must not look as if it had one. @throws WstunError bad-option */
function refuseUnused(options: Omit<ClientOptions, 'invite'>): void {
  const { viaBrowser, browserArgs = [], proxy, proxyAuthFile, proxyAuthCommand, transport = 'auto' } = options;
  if (browserArgs.length > 0 && (viaBrowser === undefined || viaBrowser === 'open'))
    throw new WstunError('bad-option', '--browser-arg is for a browser that wstun starts without a window', {
      fix: 'Add --via-browser or --via-browser=/path/to/browser, or leave out --browser-arg.',
    });
  if (viaBrowser === undefined) return;
  const isOther = proxy !== undefined && proxy !== 'env' && proxy !== 'none';
  if (isOther || proxyAuthFile !== undefined || proxyAuthCommand !== undefined)
    throw new WstunError('bad-option', 'only the browser connects to the relay, so wstun has no use for a proxy', {
      fix: 'The browser finds those of the system. To give it another one: --browser-arg=--proxy-server=URL.',
    });
  if (transport !== 'auto')
    throw new WstunError(
      'bad-option',
      'the page in the browser chooses by what it carries links, so --transport has no effect',
      {
        fix: 'Leave out --transport or --via-browser.',
      },
    );
}

function carriedByPage({ tether, viaBrowser }: ClientOptions): '--tether' | '--via-browser' | undefined {
  if (viaBrowser !== undefined) return '--via-browser';
  return tether === undefined ? undefined : '--tether';
}

function linkUseOf({ linkMaxBytes: bytes, linkMaxAgeMs: ageMs }: ClientOptions): Partial<LinkUse> {
  return { ...(bytes !== undefined && { received: bytes, sent: bytes }), ...(ageMs !== undefined && { ageMs }) };
}
