/** A relay: the gate, relay routing and its own exit, with the files that they follow. No output, signals or flags. */
import { randomBytes } from 'node:crypto';
import { ReplayGuard } from '../crypto/replay-guard.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { type Logger, silentLogger } from '../observability/logger.ts';
import type { MetricsSource } from '../observability/metric.ts';
import { parsePathPrefix } from '../relay/gate.ts';
import { LayeredRendezvous } from '../relay/layered-rendezvous.ts';
import type { ListenPlace } from '../relay/listen.ts';
import { claimsOf } from '../relay/other-nodes.ts';
import { TrustedProxies } from '../relay/proxies/trusted-proxies.ts';
import { DEFAULT_RELAY_LIMITS } from '../relay/relay-limits.ts';
import {
  DEFAULT_LINKS,
  type RelayServer,
  type RelayServerOptions,
  startRelayServer,
  type TlsPair,
} from '../relay/relay-server.ts';
import type { Rendezvous } from '../relay/rendezvous.ts';
import { parseSiteUrl } from '../relay/site/site-upstream.ts';
import { openStaticSite } from '../relay/site/static-site.ts';
import { saveInviteSettings } from '../state/invite-settings.ts';
import { loadKnownExits } from '../state/known-exits.ts';
import type { ProcessLimits } from '../state/limits-file.ts';
import { readRegistration } from '../state/registration-file.ts';
import { openStateDir } from '../state/state-dir.ts';
import { openUsedTickets } from '../state/used-tickets.ts';
import { bytesOfPin, type Pin } from '../transport/connection/tls-pin.ts';
import type { ToldRelays } from '../tunnel/session/exit-sessions.ts';
import type { AcmeOptions } from './acme.ts';
import { type Admin, OwnMetrics, openAdmin } from './admin.ts';
import type { RelayCluster, RelayClusterOptions } from './cluster.ts';
import type { ClusterPlace } from './cluster-place.ts';
import type { DialOptions } from './dial-options.ts';
import { createSessions } from './dialing-sessions.ts';
import { frontLimits } from './front-limits.ts';
import { type PeerOptions, relayIssuer } from './invites.ts';
import { DRAIN_MS, PLACES, requireShapes } from './options.ts';
import { orderedCertificate } from './ordered-certificate.ts';
import { reachableHost, whenListening } from './own-address.ts';
import { OwnUrls } from './own-urls.ts';
import {
  hostOf,
  type PublicUrl,
  parseOwnUrls,
  parseRelayUrls,
  portOf,
  rememberedUrls,
  settleUrl,
} from './public-url.ts';
import {
  nameFault,
  type OrderedCertificate,
  pinsOf,
  type RelayCertificate,
  relayCertificate,
  type TlsChoice,
} from './relay-certificate.ts';
import type { RelayNode } from './relay-node.ts';
import { RelayRouter } from './relay-routing.ts';
import { ReplaceableDialling } from './replaceable.ts';
import { RelayCounts } from './serving-counts.ts';
import { clusterMetrics, relayMetrics, sessionMetrics } from './serving-metrics.ts';
import { ServingState } from './serving-state.ts';
import { ServingReport } from './serving-status.ts';
import type { ServingStatus } from './status.ts';

/** Streams of the relay's own exit, connections without a ticket, files. */
const DESCRIPTORS_BESIDE_LINKS = 1_000;

/** Of a relay's id: docs/protocol.md §11. */
const INSTANCE_BYTES = 16;

/** Of a relay's links: so many are kept for new sessions, and a session gets no second one of them. */
const SPARE_SHARE = 1 / 4;

export interface RelayOptions extends DialOptions {
  /** The directory of its keys and its access list: made if it is missing, and of this relay alone. */
  readonly state: string;
  /** One address or socket at least. */
  readonly listen: readonly ListenPlace[];
  /**
   * By which clients reach it, for invites: `wss://relay.example.org`. Several, at most 8: the first is this relay's
   * own, and further ones are other relays with the same keys, which clients try, too. Default: what was given last,
   * else a guess.
   */
  readonly url?: string | readonly string[];
  /**
   * Further URLs by which clients reach this relay, at most 16; invites do not have them. Where this or `url` was ever
   * given, tickets that are for other URLs open nothing here.
   */
  readonly ownUrl?: string | readonly string[];
  /** Prefix of the path under which clients are accepted. Default: any path. */
  readonly path?: string;
  /**
   * Paths of PEM files, which are read again when they change; or `self-signed`: a certificate that the relay makes and
   * renews, whose pin its invites have. Default: plain HTTP, for a TLS proxy in front.
   */
  readonly tls?: TlsChoice;
  /** Gets and renews a certificate by itself, and agrees to the terms of the authority. Not together with `tls`. */
  readonly acme?: AcmeOptions;
  /**
   * What everyone sees who has no ticket: the site of a server, `http://127.0.0.1:8081` or `https://…`, to which all
   * bytes are passed on, or the files of a directory. Default: a plain 404.
   */
  readonly decoy?: string;
  /**
   * Proxies in front of the relay that say from where a request comes, in `X-Forwarded-For` or `Forwarded`: networks
   * such as `10.0.0.0/8`, addresses, or `loopback`. Default: none.
   */
  readonly trustProxy?: readonly string[];
  /** Connections from `trustProxy` begin with a header of the PROXY protocol, version 1 or 2. Default: false. */
  readonly proxyProtocol?: boolean;
  /** Where GET /healthz, /readyz and /metrics are answered (docs/metrics.md). Default: nowhere. */
  readonly admin?: HostPort;
  /** Connections from one public address that are not yet links, 0 to 1,000,000; 0: no limit. Default: 64. */
  readonly maxPendingPerAddress?: number;
  /** False: it connects to no targets, and only forwards between clients and exits. Default: true. */
  readonly exit?: boolean;
  /**
   * Other relays with the same keys that it works together with: they have one access list, know each other's exits,
   * and count together. Default: none.
   */
  readonly cluster?: ClusterPlace;
  /** How long a session at its own exit is kept without a link, ms, 0 to 86,400,000. Default: 120,000. */
  readonly resumeWindowMs?: number;
  /** Default: nothing is logged. */
  readonly logger?: Logger;
}

/** What can change while a relay runs; whatever is left out has its default again. */
export type RelayUpdate = Pick<RelayOptions, 'trustProxy' | 'decoy' | 'maxPendingPerAddress' | 'resumeWindowMs'> &
  Omit<DialOptions, 'publicAddresses'>;

export interface Relay {
  /** `HOST:PORT` of each address, with the ports that the system chose. */
  readonly listen: readonly string[];
  /** With `acme`: false if it began without a certificate. Clients can connect as soon as there is one. */
  readonly hasCertificate: boolean;
  /** The first URL in its invites. */
  readonly url: string;
  /** All of them. */
  readonly urls: readonly string[];
  /** Of its TLS key, in its invites: `sha256/…`. Empty: without TLS, or with a certificate that an authority issued. */
  readonly pins: readonly string[];
  readonly urlSource: 'given' | 'remembered' | 'guessed';
  /** Why clients do not come in by `url`, as far as it can be told from here. */
  readonly urlFault: string | undefined;
  /** The path of the state directory. */
  readonly state: string;
  /** `HOST:PORT` of the admin pages. */
  readonly admin: string | undefined;
  /** Of the client "default", which the first start with a new directory adds. A secret, and its only copy. */
  readonly firstInvite: string | undefined;
  /**
   * Adds a peer to the access list. Resolves when the relay accepts it, with its invite: a secret, and its only copy.
   * @throws WstunError bad-name, bad-rule, bad-option, name-taken, access-malformed, state-unusable
   */
  invite(name: string, options?: PeerOptions): Promise<string>;
  /**
   * Puts other options in force: for the next connections, streams and sessions. A decoy can be replaced only by one of
   * its kind: a directory, a URL, or none. What fails changes nothing.
   * @throws WstunError bad-option, bad-proxy
   */
  update(options: RelayUpdate): Promise<void>;
  /** Removes a peer. Resolves when its sessions have ended. @throws WstunError name-unknown, state-unusable */
  remove(name: string): Promise<void>;
  /**
   * Who is on, and what was refused. Cheap, and nothing runs for it between two calls: the rates are those since the
   * first call within the last 5 s, so they are 0 at the first one. It holds names and addresses of clients.
   */
  status(): ServingStatus;
  /**
   * Closes its ports and the links of exits and their clients, lets streams of its own exit finish for `graceMs`
   * (default 30,000), then ends them. Resolves when everything is closed. May be called again, to shorten the time.
   * Never rejects.
   */
  close(graceMs?: number): Promise<void>;
}

/**
 * Resolves when it listens. What fails leaves nothing open.
 * @throws WstunError bad-option, bad-url, bad-domain, bad-certificate, bad-passed-socket, cannot-listen,
 * state-unusable, identity-damaged, access-malformed, limits-malformed, interfaces-hidden
 */
export async function startRelay(options: RelayOptions): Promise<Relay> {
  return startNode(options);
}

/** One of several processes that are one relay. @throws WstunError as of startRelay */
export async function startNode(options: RelayOptions, node?: RelayNode): Promise<Relay> {
  requireShapes(options, ['state', 'listen'], PLACES);
  const { logger = silentLogger } = options;
  parseRelayUrls(urlsOf(options));
  const ownUrls = parseOwnUrls(ownUrlsOf(options));
  if (options.acme && options.tls !== undefined)
    throw new WstunError('bad-option', 'a certificate is given or made (--tls-…), or requested (--acme), not both');
  // A slash at the front may be left out.
  const path = options.path === undefined ? undefined : parsePathPrefix(options.path.replace(/^(?!\/)/, '/'));
  const site = { ...proxiesOf(options), ...(await openSite(options.decoy)) };
  const dialling = new ReplaceableDialling(options, logger);
  const files = await openFiles({ state: options.state, ownUrls, cluster: options.cluster }, site, logger, node?.count);
  let relay: RunningRelay | undefined;
  try {
    relay = new RunningRelay({ ...options, path, site, logger, dialling, node }, files);
    return await relay.start();
  } catch (error) {
    await (relay ?? files).close(0);
    throw error;
  }
}

/** Exits and relays of its cluster seal their tickets for its URL there. */
function ownUrlsOf({ ownUrl = [], cluster }: Pick<RelayOptions, 'ownUrl' | 'cluster'>): readonly string[] {
  const given = typeof ownUrl === 'string' ? [ownUrl] : ownUrl;
  return cluster?.url === undefined ? given : [...given, cluster.url];
}

function urlsOf({ url = [] }: Pick<RelayOptions, 'url'>): readonly string[] {
  return typeof url === 'string' ? [url] : url;
}

/** Options of the server for what strangers see, and for what is in front of it. */
type Site = Pick<RelayServerOptions, 'upstream' | 'decoy' | 'hasVisitors' | 'trustProxy' | 'proxyProtocol'>;

/** @throws WstunError bad-option */
function proxiesOf({
  trustProxy = [],
  proxyProtocol = false,
}: Pick<RelayOptions, 'trustProxy' | 'proxyProtocol'>): Site & { readonly trustProxy: TrustedProxies } {
  const trusted = new TrustedProxies(trustProxy);
  if (proxyProtocol && trusted.isEmpty)
    throw new WstunError('bad-option', '--proxy-protocol needs --trust-proxy: anyone else could claim any address');
  return { trustProxy: trusted, proxyProtocol };
}

/** What is served to strangers: its files, a server's site, or nothing. */
function kindOf({ decoy, upstream }: Site): 'files' | 'upstream' | 'none' {
  if (upstream !== undefined) return 'upstream';
  return decoy === undefined ? 'none' : 'files';
}

/** @throws WstunError bad-option */
async function openSite(decoy: string | undefined): Promise<Site> {
  if (decoy === undefined) return {};
  if (/^\w+:\/\//.test(decoy)) return { upstream: parseSiteUrl(decoy) };
  return { decoy: await openStaticSite(decoy), hasVisitors: true };
}

interface Checked extends Omit<RelayOptions, 'path' | 'decoy' | 'trustProxy'> {
  readonly path: string | undefined;
  readonly site: Site;
  readonly logger: Logger;
  readonly dialling: ReplaceableDialling;
  readonly node: RelayNode | undefined;
}

interface GivenFiles extends Pick<RelayOptions, 'state'> {
  readonly ownUrls: readonly string[];
  readonly cluster: ClusterPlace | undefined;
}

type Files = Awaited<ReturnType<typeof openFiles>>;

async function openFiles(options: GivenFiles, { upstream, hasVisitors = false }: Site, logger: Logger, processes = 1) {
  const state = await openStateDir(options.state);
  if ((await readRegistration(state)) !== undefined)
    throw new WstunError('state-unusable', `${state.path} belongs to an exit, and a relay needs its own`);
  const ownUrls = new OwnUrls(state, options.ownUrls, logger);
  const known = await loadKnownExits(state, logger);
  const replays = new ReplayGuard();
  const needed = ({ links = DEFAULT_LINKS, visitors = DEFAULT_RELAY_LIMITS.visitors }: ProcessLimits) => {
    const forVisitors = upstream === undefined ? Number(hasVisitors) * visitors : 2 * visitors;
    return Math.ceil((links + forVisitors) / processes) + DESCRIPTORS_BESIDE_LINKS;
  };
  const cluster = options.cluster && (await openCluster({ place: options.cluster, state, processes, logger }));
  const serving = await ServingState.open(state, needed, logger, processes, cluster).catch(async (error: unknown) => {
    await cluster?.close();
    throw error;
  });
  const usedTickets = await openUsedTickets(state, replays, logger).catch(async (error: unknown) => {
    await serving.close();
    await cluster?.close();
    throw error;
  });
  const close = async () => {
    await serving.close();
    await known.close();
    await usedTickets.close();
    await ownUrls.close();
    await cluster?.close();
  };
  return { serving, known, replays, ownUrls, cluster, close };
}

/** Loads it: a relay that is alone has nothing of it. @throws WstunError as of openRelayCluster */
async function openCluster(options: RelayClusterOptions): Promise<RelayCluster> {
  const { openRelayCluster } = await import('./cluster.ts');
  return await openRelayCluster(options);
}

class RunningRelay {
  private readonly acme: OrderedCertificate | undefined;
  private certificate: RelayCertificate | undefined;
  private readonly counts: RelayCounts;
  private admin: Admin | undefined;
  private measured: OwnMetrics | undefined;
  private notReady: string | undefined = 'starting';
  private readonly instance: string;
  private readonly report = new ServingReport();
  private pins: readonly Pin[] = [];
  /** At the start. */
  private tls: TlsPair | undefined;
  /** There is no certificate yet. */
  private awaitsTls = false;
  private router: RelayRouter;
  private server: RelayServer | undefined;
  private publicUrl: PublicUrl | undefined;
  private resumeWindowMs: number | undefined;

  constructor(
    private readonly options: Checked,
    private readonly files: Files,
  ) {
    const { acme, logger, resumeWindowMs } = options;
    this.resumeWindowMs = resumeWindowMs;
    this.instance = options.node?.instance ?? randomBytes(INSTANCE_BYTES).toString('hex');
    this.acme = acme && orderedCertificate(acme, files.serving.directory, logger, options.node);
    this.counts = new RelayCounts(options.admin !== undefined || options.node?.onMeasured !== undefined);
    this.router = this.createRouter();
  }

  async start(): Promise<Relay> {
    const { serving, cluster } = this.files;
    cluster?.join({ serving, status: () => this.status([]) });
    // Before anything listens: whoever came first would be rejected.
    this.admit(serving.access.replace(await serving.list.read()));
    this.router.restoreExits();
    this.certificate = await this.createCertificate();
    await this.openAdmin();
    const settled = this.whenReady();
    const { addresses } = await this.listenWhen(settled);
    const { url, urls, source, fault } = await this.settleUrl(addresses);
    // A pin that invites have accepts any name.
    const nameIsWrong = this.tls && this.pins.length === 0 ? nameFault(this.tls, urls) : undefined;
    cluster?.begin(url, this.pins);
    const isAlone = this.options.exit !== false && cluster === undefined;
    const isNew = isAlone && (await serving.file.readText()) === undefined;
    const firstInvite = isNew ? await this.invite('default') : undefined;
    const onAccess = (kept: ReadonlySet<string>) => this.admit(kept);
    await serving.follow(onAccess, () => this.rotate());
    void settled.then(() => this.noteReady());
    return {
      listen: addresses.map(formatHostPort),
      ...{ url, urls, pins: this.pins },
      hasCertificate: !this.awaitsTls,
      urlSource: source,
      urlFault: fault ?? nameIsWrong,
      firstInvite,
      state: serving.directory.path,
      admin: this.admin && formatHostPort(this.admin.address),
      invite: (name, options) => this.invite(name, options),
      remove: (name) => serving.remove(name),
      status: () => this.status(addresses.map(formatHostPort)),
      update: (options) => this.update(options),
      close: (graceMs) => this.close(graceMs),
    };
  }

  async close(graceMs = DRAIN_MS): Promise<void> {
    this.notReady = 'draining';
    this.certificate?.stop();
    this.files.cluster?.leave();
    this.options.dialling.publicAddresses.stop();
    this.server?.drain();
    await Promise.all([this.acme?.stop(), this.files.serving.stopFollowing(), this.router.close(graceMs)]);
    this.server?.close();
    await this.files.close();
    this.admin?.close();
    this.measured?.close();
  }

  private status(listen: readonly string[]): ServingStatus {
    const { refusals } = this.counts;
    const { cluster } = this.files;
    const served = this.report.read(this.router.served);
    return { role: 'relay', ...served, listen, ...(cluster && { cluster: cluster.status }), refusals };
  }

  private async update(options: RelayUpdate): Promise<void> {
    requireShapes(options);
    const { dialling, proxyProtocol = false } = this.options;
    const site = { ...proxiesOf({ ...options, proxyProtocol }), ...(await openSite(options.decoy)) };
    if (kindOf(site) !== kindOf(this.options.site))
      throw new WstunError('bad-option', '--decoy stays a directory, a URL or none while a relay runs', {
        fix: 'Restart the relay.',
      });
    dialling.prepare(options)();
    this.resumeWindowMs = options.resumeWindowMs;
    this.router.setResumeWindow(options.resumeWindowMs);
    const { pendingPerSource = DEFAULT_RELAY_LIMITS.pendingPerSource } = frontLimits(
      this.files.serving.limits,
      options,
      this.options.node,
    );
    this.server?.update({ ...site, pendingPerSource });
  }

  private invite(name: string, options: PeerOptions = {}): Promise<string> {
    const { serving } = this.files;
    return serving.invite(relayIssuer(serving.keys.identity, this.publicUrl?.urls ?? [], this.pins), name, options);
  }

  /** Until then nobody is answered: the keys of the exits may be many, and a guess at the URL needs the port. */
  private async whenReady(): Promise<void> {
    await Promise.all([this.router.restored(), this.files.ownUrls.settled]);
  }

  /** @param settled whoever comes before waits */
  private async listenWhen(settled: Promise<void>): Promise<RelayServer> {
    const { certificate, options } = this;
    const tls = await certificate?.read();
    const awaitsTls = certificate !== undefined && tls === undefined;
    const starting = startRelayServer({ ...this.serverOptions(), settled, awaitsTls, ...(tls && { tls }) });
    const server = await whenListening(options.listen, starting);
    this.server = server;
    this.awaitsTls = awaitsTls;
    await this.acme?.listen();
    if (tls !== undefined) this.pins = pinsOf(tls);
    this.tls = tls;
    const use = (pair: TlsPair): void => {
      server.setTls(pair);
      this.awaitsTls = false;
      this.pins = pinsOf(pair);
      this.router.tellRelays();
      void this.saveInviteSettings().catch((error: unknown) =>
        options.logger.error({ reason: String(error) }, 'the pin of the TLS key cannot be saved'),
      );
    };
    certificate?.follow(use, options.logger);
    return server;
  }

  private async settleUrl(addresses: readonly HostPort[]): Promise<PublicUrl> {
    const { path, dialling } = this.options;
    const tls = this.certificate !== undefined;
    const wishes = { urls: urlsOf(this.options), path, tls, certified: this.acme?.hosts };
    const settled = await settleUrl(this.files.serving.directory, wishes, addresses);
    if (this.options.cluster !== undefined && this.options.cluster.url === undefined && settled.source === 'guessed')
      throw new WstunError('bad-option', '--cluster needs the URL by which exits reach this relay: --url', {
        fix: 'Give --url, or --cluster-url where several relays are behind one URL.',
      });
    this.publicUrl = settled;
    await this.saveInviteSettings();
    await this.files.ownUrls.settle(settled, { certified: this.acme?.hosts, path });
    await dialling.publicAddresses.followHost(new URL(settled.url).hostname);
    return settled;
  }

  private async createCertificate(): Promise<RelayCertificate | undefined> {
    const { tls, listen } = this.options;
    if (tls === undefined) return this.acme;
    const { directory } = this.files.serving;
    const given = parseRelayUrls(urlsOf(this.options));
    const urls = given.length > 0 ? given : await rememberedUrls(directory);
    const listening = listen.flatMap((place) => ('host' in place ? [reachableHost(place.host)] : []));
    return relayCertificate(tls, directory, urls.length > 0 ? urls.map(hostOf) : listening);
  }

  /** For `wstun access add`. */
  private async saveInviteSettings(): Promise<void> {
    const { publicUrl, pins } = this;
    if (publicUrl === undefined) return;
    const [url = '', ...moreUrls] = publicUrl.urls;
    await saveInviteSettings(this.files.serving.directory, { url, moreUrls, pins });
  }

  private serverOptions(): RelayServerOptions {
    const { listen, path, logger, node } = this.options;
    const { gate: refusals, ticketTime } = this.counts;
    return {
      listen,
      tickets: {
        open: (ticket, now, request = {}) => this.router.open(ticket, now, request),
        knowsHint: (ticket, now) => this.router.knowsHint(ticket, now),
      },
      logger,
      ...{ refusals, ticketTime },
      onLink: (link, admitted) => this.router.handleLink(link, admitted),
      ...(path !== undefined && { path }),
      ...this.options.site,
      ...(this.acme && { challenges: this.acme.challenges }),
      others: node?.others,
      claims: claimsOf(node?.others, this.files.cluster?.claims),
      ...(node && { sharedLoad: node.load }),
      limits: frontLimits(this.files.serving.limits, this.options, node),
    };
  }

  private createRouter(): RelayRouter {
    const { serving, known, replays, ownUrls, cluster } = this.files;
    const { keys, access, isOverloaded } = serving;
    const { logger, dialling, exit, node } = this.options;
    const { resumeWindowMs } = this;
    const linksFree = () => this.server?.linksFree ?? 0;
    const linksKept = () => Math.floor((serving.limits.links ?? DEFAULT_LINKS) * SPARE_SHARE);
    const isShortOfLinks = () => linksFree() < linksKept();
    const { counts, instance } = this;
    const dialing = {
      serving,
      dialling,
      ownPorts: () => this.ownPorts(),
      isShortOfLinks,
      resumeWindowMs,
      ...{ counts, logger },
      places: node?.places,
      relays: () => this.toldRelays(),
    };
    const sessions = exit === false ? undefined : createSessions(dialing);
    const rendezvous = joined(node?.rendezvous, cluster?.rendezvous);
    const links = { isOverloaded, linksFree, linksKept, rendezvous };
    const router = { keys, access, known, instance, replays, audiences: ownUrls, sessions };
    return new RelayRouter({ ...router, ...links, logger, counts: counts.rendezvous });
  }

  /** A guess may be wrong for everybody but this machine. */
  private toldRelays(): ToldRelays | undefined {
    const { publicUrl, pins } = this;
    if (publicUrl === undefined || publicUrl.source === 'guessed') return undefined;
    return { urls: publicUrl.urls, pins: pins.map(bytesOfPin) };
  }

  private admit(kept: ReadonlySet<string>): void {
    this.router.admit(kept);
  }

  private rotate(): void {
    const before = this.router;
    this.router = this.createRouter();
    this.admit(new Set());
    before.retire();
  }

  private async openAdmin(): Promise<void> {
    const { admin, node, logger } = this.options;
    const { cluster } = this.files;
    const whyNotReady = () =>
      this.notReady ?? (this.awaitsTls ? 'there is no TLS certificate yet' : cluster?.whyNotReady());
    const lacking = () => cluster?.lacking();
    const facts = { role: 'relay', sources: [this.metrics()], whyNotReady, lacking } as const;
    if (node?.onMeasured !== undefined) {
      const own = new OwnMetrics(facts);
      this.measured = own;
      node.onMeasured({ collect: () => own.collect(), whyNotReady, lacking });
    }
    if (admin !== undefined) this.admin = await openAdmin(admin, { ...facts, logger });
  }

  /** It listens, and knows all keys. */
  private noteReady(): void {
    if (this.notReady === 'starting') this.notReady = undefined;
  }

  private metrics(): MetricsSource {
    return {
      collect: () => {
        const { router, server, counts } = this;
        const { sessions, exits } = router.served;
        const readings = { front: server?.front, exitsRegistered: exits.length, clientsHeld: router.held };
        return [
          ...sessionMetrics(sessions?.all ?? [], counts),
          ...relayMetrics(readings, counts),
          ...clusterMetrics(this.files.cluster?.status),
        ];
      },
    };
  }

  /** Also that of its URL: a reverse proxy on this machine leads back here. */
  private ownPorts(): number[] {
    const { server, publicUrl } = this;
    const addresses = [...(server?.addresses ?? []), ...(this.admin ? [this.admin.address] : [])];
    const ofParent = this.options.node?.ownPorts ?? [];
    return [...addresses.map(({ port }) => port), ...(publicUrl?.urls ?? []).map(portOf), ...ofParent];
  }
}

function joined(workers: Rendezvous | undefined, machines: Rendezvous | undefined): Rendezvous | undefined {
  if (workers === undefined || machines === undefined) return workers ?? machines;
  return new LayeredRendezvous(workers, machines);
}
