/** A named exit: registers at its relays, and dials for the clients that it invites. No output, signals or flags. */
import { encodeBase64url } from '../crypto/base64url.ts';
import { decodeInvite } from '../crypto/invite.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { type Logger, silentLogger } from '../observability/logger.ts';
import type { MetricsSource } from '../observability/metric.ts';
import { Tally } from '../observability/tally.ts';
import {
  type Registration,
  readRegistration,
  requireRegistration,
  saveRegistration,
} from '../state/registration-file.ts';
import { readRelayUrl } from '../state/relay-settings.ts';
import { markRunning } from '../state/running-marker.ts';
import { openStateDir, type StateDir } from '../state/state-dir.ts';
import type { Reach } from '../transport/connection/reach.ts';
import { MAX_ANNOUNCED_KEYS } from '../transport/control-messages.ts';
import type { MessageLink } from '../transport/message-link.ts';
import { RelayRoutes } from '../tunnel/dial/relay-routes.ts';
import { SecureLink } from '../tunnel/dial/secure-link.ts';
import { TicketDialer } from '../tunnel/dial/ticket-dialer.ts';
import { ExitRegistrations, type RegistrationsHandler, type RelayPlace } from '../tunnel/session/exit-registrations.ts';
import type { ExitSessions } from '../tunnel/session/exit-sessions.ts';
import { type Admin, openAdmin } from './admin.ts';
import { placeOf } from './client-status.ts';
import type { DialOptions } from './dial-options.ts';
import { createSessions } from './dialing-sessions.ts';
import { accessFile, exitIssuer, type PeerOptions } from './invites.ts';
import { followNetwork } from './network-following.ts';
import { DRAIN_MS, requireShapes } from './options.ts';
import { checkProxyFile, type ProxyOptions } from './proxy-options.ts';
import { type ReachOptions, reachOf } from './reach-options.ts';
import { ReplaceableDialling, ReplaceableProxies, ReplaceableReach } from './replaceable.ts';
import { type Networks, openNetworks, type RouteNotice, type RouteOptions, routesOf } from './route-options.ts';
import { ServingCounts } from './serving-counts.ts';
import { exitMetrics, sessionMetrics } from './serving-metrics.ts';
import { ServingState } from './serving-state.ts';
import { registrationStatus, ServingReport } from './serving-status.ts';
import type { ServingStatus } from './status.ts';

/** A handful of clients with all the streams that a session may have. */
const DESCRIPTORS_NEEDED = 4_096;

/** Each is called when it has happened, and must not throw. */
export interface ExitEvents {
  /** It is registered at a relay: clients can come. `first` is false after an outage. */
  onRegistered?(info: { readonly relay: string; readonly first: boolean }): void;
  /** The relay has room for `taken` of the `of` clients of this exit. It rejects the others. */
  onPartlyRegistered?(info: { readonly taken: number; readonly of: number; readonly relay: string }): void;
  /**
   * Of several relays, while the exit is registered at another one: now it is registered at this one, too, or not any
   * more, because of `error`, or because it is the same relay as that of the URL `sameAs`.
   */
  onRelay?(info: {
    readonly relay: string;
    readonly registered: boolean;
    readonly error?: WstunError;
    readonly sameAs?: string;
  }): void;
  /** Links go by another route than before, or a dial takes long: what is tried, and what was in the way. */
  onRoute?(notice: RouteNotice): void;
  /** It is registered nowhere, or an attempt failed. The next one follows after `waitMs`. */
  onFailed?(error: WstunError, waitMs: number): void;
}

export interface ExitOptions extends DialOptions, ProxyOptions, ReachOptions, RouteOptions {
  /** The directory of its keys, its access list and its invite: made if it is missing, and of this exit alone. */
  readonly state: string;
  /** `wstun1_…`, of a peer with the role exit. It is remembered. Default: the last one. */
  readonly invite?: string;
  /** How long a session is kept without a link, ms, 0 to 86,400,000. Default: 120,000. */
  readonly resumeWindowMs?: number;
  /** True: gives up at the first failure or, once registered, at the first that lasts 10 s. Default: false. */
  readonly once?: boolean;
  /** Where GET /healthz, /readyz and /metrics are answered (docs/metrics.md). Default: nowhere. */
  readonly admin?: HostPort;
  readonly events?: ExitEvents;
  /** Default: nothing is logged. */
  readonly logger?: Logger;
}

/** What can change while an exit runs; whatever is left out has its default again. */
export type ExitUpdate = ProxyOptions &
  ReachOptions &
  Omit<DialOptions, 'publicAddresses'> &
  Pick<ExitOptions, 'resumeWindowMs'>;

export interface Exit {
  /** Under which it registers. */
  readonly name: string;
  /** The path of the state directory. */
  readonly state: string;
  /** `HOST:PORT` of the admin pages. */
  readonly admin: string | undefined;
  /** Rejects with a WstunError when no further attempt could help; resolves when it is closed. */
  readonly ended: Promise<void>;
  /** Registers anew now. Changes of the network do that too. */
  reconnect(): void;
  /**
   * Puts other options in force: for the next links, streams and sessions. `reconnect` makes the links of now follow,
   * too. What fails changes nothing.
   * @throws WstunError bad-option, bad-certificate, bad-proxy, proxy-file-unusable
   */
  update(options: ExitUpdate): Promise<void>;
  /**
   * Adds a client to the access list, and returns its invite: a secret, and its only copy. The relay accepts the client
   * when it has heard of it, within about a second.
   * @throws WstunError bad-name, bad-rule, bad-option, name-taken, access-malformed, state-unusable
   */
  invite(name: string, options?: PeerOptions): Promise<string>;
  /** Removes a client. Resolves when its sessions have ended. @throws WstunError name-unknown, state-unusable */
  remove(name: string): Promise<void>;
  /** As `status` of a relay. Of its clients it sees no addresses: their links come from the relay. */
  status(): ServingStatus;
  /**
   * Leaves the relay, lets streams finish for `graceMs` (default 30,000), then ends them. Resolves when everything is
   * closed. May be called again, to shorten the time. Never rejects.
   */
  close(graceMs?: number): Promise<void>;
}

/**
 * Resolves when it has begun to register; `onRegistered` follows. What fails leaves nothing open.
 * @throws WstunError invite-malformed, invite-missing, invite-for-client, bad-option, bad-certificate, exit-running,
 * state-unusable, identity-damaged, access-malformed, limits-malformed, interfaces-hidden, bad-proxy,
 * proxy-file-unusable
 */
export async function startExit(options: ExitOptions): Promise<Exit> {
  requireShapes(options, ['state']);
  // These may hold secrets, and are not kept: `inspect` would show them.
  const { invite, proxy, via: _via, headers: _headers, logger = silentLogger, ...rest } = options;
  const given = invite === undefined ? undefined : registrationOf(invite);
  const dialling = new ReplaceableDialling(options, logger);
  await checkProxyFile(options);
  const files = await openFiles(options.state, given, logger);
  let exit: RunningExit | undefined;
  try {
    const reach = await reachOf(options, files.registration, { logger });
    const networks = await openNetworks(files.serving.directory, logger);
    exit = new RunningExit({ ...rest, logger, dialling, reach }, proxy, files, networks);
    await exit.start();
    return exit;
  } catch (error) {
    await (exit ?? files).close(0);
    throw error;
  }
}

/**
 * What an invite would change: as whom and where the exit of a directory registers. Undefined where that stays, or
 * where the exit has invited nobody yet.
 * @throws WstunError invite-malformed, invite-for-client, state-unusable, access-malformed
 */
export async function placeChange(path: string, invite: string): Promise<{ from: string; to: string } | undefined> {
  const given = registrationOf(invite);
  const state = await openStateDir(path);
  // One that cannot be read is about to be replaced.
  const before = await readRegistration(state).catch(() => undefined);
  if (before === undefined || isSamePlace(before, given)) return undefined;
  if ((await accessFile(state).read()).length === 0) return undefined;
  const textOf = ({ exitName, relayUrls: [url] }: Registration) => `"${exitName}" at ${url}`;
  return { from: textOf(before), to: textOf(given) };
}

/** Rotated keys, or another URL of the same relay, change no place. */
function isSamePlace(one: Registration, other: Registration): boolean {
  const isSameRelay =
    Buffer.from(one.relayGateKey).equals(other.relayGateKey) ||
    one.relayUrls.some((url) => other.relayUrls.includes(url));
  return one.exitName === other.exitName && isSameRelay;
}

function registrationOf(invite: string): Registration {
  return requireRegistration(decodeInvite(invite));
}

type Files = Awaited<ReturnType<typeof openFiles>>;

async function openFiles(path: string, given: Registration | undefined, logger: Logger) {
  const state = await openStateDir(path);
  if ((await readRelayUrl(state)) !== undefined)
    throw new WstunError('state-unusable', `${state.path} belongs to a relay, and an exit needs its own`);
  // Until it is called, no other process runs with the directory.
  const unmark = await markRunning(state).catch((error: unknown) => goOnUnmarked(error, logger));
  try {
    const registration = await settleRegistration(state, given);
    const serving = await ServingState.open(state, () => DESCRIPTORS_NEEDED, logger);
    const close = async () => {
      await unmark();
      await serving.close();
    };
    return { serving, registration, unmark, close };
  } catch (error) {
    await unmark();
    throw error;
  }
}

/** A directory that cannot be written to, or a full disk, keeps no exit from running. */
function goOnUnmarked(error: unknown, logger: Logger): () => Promise<void> {
  if (!(error instanceof WstunError) || error.fault !== 'state-unusable') throw error;
  logger.warn({ code: error.code }, `a second exit with this state directory would not be detected: ${error.message}`);
  return async () => {};
}

/** The one that was given, remembered from now on; else the one from the last time. */
async function settleRegistration(state: StateDir, given: Registration | undefined): Promise<Registration> {
  if (given !== undefined) await saveRegistration(state, given);
  const registration = given ?? (await readRegistration(state));
  if (registration === undefined) throw new WstunError('invite-missing');
  return registration;
}

interface Checked extends Omit<ExitOptions, 'invite' | 'proxy' | 'via' | 'headers'> {
  readonly logger: Logger;
  readonly dialling: ReplaceableDialling;
  readonly reach: Reach;
}

class RunningExit implements Exit {
  ended: Promise<void> = Promise.resolve();
  private readonly atRelays: ExitRegistrations;
  private readonly network: { stop(): void };
  private readonly proxies: ReplaceableProxies;
  private readonly reach: ReplaceableReach;
  private resumeWindowMs: number | undefined;
  private sessions: ExitSessions;
  private isFirst = true;
  private readonly counts: ServingCounts;
  /** Attempts to register that failed, and registrations that were lost. */
  private readonly failures = new Tally();
  /** One for each relay. */
  private readonly dialers: TicketDialer[] = [];
  private adminPages: Admin | undefined;
  private isClosing = false;
  private readonly report = new ServingReport();

  constructor(
    private readonly options: Checked,
    proxy: string | undefined,
    private readonly files: Files,
    private readonly networks: Networks,
  ) {
    const { logger, once = false, events, resumeWindowMs } = options;
    this.resumeWindowMs = resumeWindowMs;
    this.counts = new ServingCounts(options.admin !== undefined);
    const reach = new ReplaceableReach(options.reach);
    this.reach = reach;
    this.sessions = this.createSessions();
    const chosen = { ...options, ...(proxy !== undefined && { proxy }) };
    this.proxies = new ReplaceableProxies(chosen, reach, () => this.reconnect(), logger);
    const { registration } = files;
    const routes = routesOf(options, networks.memory, this.proxies, (notice) => events?.onRoute?.(notice));
    this.atRelays = new ExitRegistrations({
      ...{ relays: registration.relayUrls, logger, once, handler: this.createHandler() },
      // What is learnt of one relay, its clock and its route, is not true of the others.
      dialerOf: () => {
        const dialer = new TicketDialer(registration, logger, { reach, known: networks.known });
        this.dialers.push(dialer);
        return dialer;
      },
      routesOf: () => new RelayRoutes({ ...routes, reach }),
      failures: this.failures,
    });
    this.network = followNetwork(this, logger);
  }

  get name(): string {
    return this.files.registration.exitName;
  }

  get state(): string {
    return this.files.serving.directory.path;
  }

  get admin(): string | undefined {
    return this.adminPages && formatHostPort(this.adminPages.address);
  }

  async start(): Promise<void> {
    await this.openAdmin();
    const onAccess = (kept: ReadonlySet<string>) => {
      this.sessions.keepOnly(kept);
      this.announce();
    };
    await this.files.serving.follow(onAccess, () => this.rotate());
    this.ended = this.atRelays.run();
    // Whoever does not ask for it is not to be ended by it.
    this.ended.catch(() => {});
  }

  status(): ServingStatus {
    const { sessions, counts, atRelays } = this;
    const serving = this.report.read({ sessions, exits: [] });
    return { role: 'exit', ...serving, ...registrationStatus(atRelays.places), refusals: counts.refusals };
  }

  async update(options: ExitUpdate): Promise<void> {
    requireShapes(options);
    const { logger, dialling } = this.options;
    await checkProxyFile(options);
    const reach = await reachOf(options, this.files.registration, { logger });
    const useDialling = dialling.prepare(options);
    await this.proxies.replace(options, reach);
    useDialling();
    this.reach.replace(reach);
    this.resumeWindowMs = options.resumeWindowMs;
    this.sessions.setResumeWindow(options.resumeWindowMs);
  }

  reconnect(): void {
    this.atRelays.reconnectNow();
  }

  invite(name: string, options: PeerOptions = {}): Promise<string> {
    const { serving, registration } = this.files;
    return serving.invite(exitIssuer(registration, serving.keys.identity), name, options);
  }

  remove(name: string): Promise<void> {
    return this.files.serving.remove(name);
  }

  async close(graceMs = DRAIN_MS): Promise<void> {
    const { serving, unmark, close } = this.files;
    this.isClosing = true;
    this.network.stop();
    await this.proxies.stop();
    this.options.dialling.publicAddresses.stop();
    await unmark();
    this.atRelays.close();
    await Promise.all([serving.stopFollowing(), this.sessions.close(graceMs), this.networks.close()]);
    await close();
    this.adminPages?.close();
  }

  private createSessions(): ExitSessions {
    const { dialling, logger } = this.options;
    const { counts, resumeWindowMs } = this;
    const { serving } = this.files;
    const ownPorts = () => (this.adminPages ? [this.adminPages.address.port] : []);
    const { relayUrls: urls, tlsPins: pins = [] } = this.files.registration;
    const relays = () => ({ urls, pins });
    return createSessions({ serving, dialling, ownPorts, resumeWindowMs, relays, logger, counts });
  }

  private createHandler(): RegistrationsHandler {
    const { events, dialling } = this.options;
    return {
      handleLink: (link) => this.sessions.serve(link),
      handleRegistered: (relay) => {
        const first = this.isFirst;
        this.isFirst = false;
        events?.onRegistered?.({ relay, first });
      },
      handleSeen: (address, relay) => dialling.publicAddresses.noteSeen(address, relay),
      handleTaken: (taken, of, relay) => events?.onPartlyRegistered?.({ taken, of, relay }),
      handleLost: (error, waitMs) => events?.onFailed?.(error, waitMs),
      handleChange: (place) => this.handleChange(place),
    };
  }

  /** It goes on at another relay. */
  private handleChange(place: RelayPlace): void {
    const { logger, events } = this.options;
    const relay = placeOf(place.relay);
    const { error, sameAs } = place;
    if (sameAs !== undefined)
      logger.debug({ relay, sameAs: placeOf(sameAs) }, 'two URLs lead to one relay; one registration is kept');
    else if (error === undefined) logger.info({ relay }, 'registered at one more relay');
    else if (error.fault === 'link-lost')
      logger.info({ relay, code: error.code }, 'one of the registrations was lost; clients come by the others');
    else
      logger.warn(
        { relay, code: error.code, reason: error.message },
        'not registered at one of the relays; clients come by the others',
      );
    const why = { ...(error && { error }), ...(sameAs !== undefined && { sameAs }) };
    events?.onRelay?.({ relay: place.relay, registered: place.registeredAt !== undefined, ...why });
  }

  private async openAdmin(): Promise<void> {
    const { admin, logger } = this.options;
    if (admin === undefined) return;
    const whyNotReady = () => this.whyNotReady();
    this.adminPages = await openAdmin(admin, { role: 'exit', sources: [this.metrics()], whyNotReady, logger });
  }

  private whyNotReady(): string | undefined {
    if (this.isClosing) return 'draining';
    const { places } = this.atRelays;
    if (places.some(({ registeredAt }) => registeredAt !== undefined)) return undefined;
    const { error } = places.find((place) => place.error !== undefined) ?? {};
    return error === undefined ? 'not registered at a relay yet' : `not registered at a relay (${error.code})`;
  }

  private metrics(): MetricsSource {
    return {
      collect: () => {
        const { counts, failures: registrationFailures, sessions, atRelays } = this;
        const { places } = atRelays;
        const registrations = places.filter(({ registeredAt }) => registeredAt !== undefined).length;
        const carrierOf = (link: MessageLink) => (link instanceof SecureLink ? this.carrierOf(link.inner) : undefined);
        const atPlaces = { relays: places.length, registrations, registrationFailures };
        const readings = { sessions: sessions.all, carrierOf, ...atPlaces };
        return [...sessionMetrics(sessions.all, counts), ...exitMetrics(readings, counts)];
      },
    };
  }

  private carrierOf(raw: MessageLink): string | undefined {
    for (const dialer of this.dialers) {
      const route = dialer.routeOf(raw);
      if (route !== undefined) return route.carrier;
    }
    return undefined;
  }

  /** Also those of retired keys: whoever has an old invite must reach this exit to be told so. */
  private announce(): void {
    const { access, keys } = this.files.serving;
    const all = [...access.entries, ...keys.retired.flatMap((old) => access.retiredPeers(old))];
    const clients = all.filter(({ role }) => role === 'client').slice(0, MAX_ANNOUNCED_KEYS);
    this.atRelays.setPeers([...new Set(clients.map(({ key }) => encodeBase64url(key.gate)))]);
  }

  private rotate(): void {
    const before = this.sessions;
    this.sessions = this.createSessions();
    before.endAll('keys-rotated');
    this.announce();
  }
}
