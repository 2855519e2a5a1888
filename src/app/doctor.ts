/** Examines why a client does not get through, or whether it would: with the parts that a client consists of. */
import { systemClock } from '../clock.ts';
import { decodeInvite, type Invite } from '../crypto/invite.ts';
import type { Check, CheckName } from '../doctor/checks.ts';
import { Examination, type Findings } from '../doctor/examination.ts';
import type { LinkStage, OpenSession, Probes, Target, TlsFacts } from '../doctor/probes.ts';
import { WstunError } from '../errors.ts';
import type { HostPort } from '../net/host-port.ts';
import { type Logger, silentLogger } from '../observability/logger.ts';
import { dialConnection } from '../transport/connection/connection-dial.ts';
import { placeOfUrl, type Reach } from '../transport/connection/reach.ts';
import { acceptedCertificateOf } from '../transport/connection/relay-tls.ts';
import { secured } from '../transport/connection/secured.ts';
import { placeOf } from '../transport/connection/tcp-dial.ts';
import type { Via } from '../transport/connection/via.ts';
import { findLoginPage } from '../transport/login-page.ts';
import { createProxyChooser } from '../transport/proxy/proxy-choice.ts';
import { RelaySessionDialer, refuseUnsealed } from '../tunnel/dial/session-dialer.ts';
import type { CarrierName, Route } from '../tunnel/routes/route.ts';
import { findNames, lookAtEnvironment, lookAtPort, PROXY_VARIABLES, unusedVariables } from './doctor-machine.ts';
import { openSession } from './doctor-session.ts';
import { requireShapes } from './options.ts';
import { checkProxyFile, type ProxyOptions, type ProxyUse, useProxies } from './proxy-options.ts';
import { type ReachOptions, reachOf } from './reach-options.ts';
import { type Networks, openNetworks, type RouteOptions } from './route-options.ts';

/** IANA keeps it for examples, so it is always there. */
const USUAL_TARGET: Target = { host: 'example.com', port: 443, isUsual: true };
/** A session that was resumed shows no certificate. */
const RESUMED: TlsFacts = {
  ...{ issuer: 'the same authority as before', validTo: Number.NaN },
  ...{ isPinned: false, inspector: undefined },
};
/** Until TCP to port 443 of the relay's host is connected, ms. */
const OTHER_PORT_MS = 2_500;

export interface DoctorOptions extends ProxyOptions, ReachOptions, RouteOptions {
  /** `wstun1_…` */
  readonly invite: string;
  /** Of the proxy that a client would have. Default: 127.0.0.1, port 1080. */
  readonly listen?: HostPort;
  readonly encryption?: 'on' | 'off';
  /** As of a client. */
  readonly state?: string;
  /** To what a stream is opened. Default: port 443 of example.com. */
  readonly target?: Target;
  /** How long a link is held without a stream, ms. Default: it is not. */
  readonly idleMs?: number;
  /** Ends it. */
  readonly signal?: AbortSignal;
  /** As each check is over; must not throw. */
  onCheck?(check: Check): void;
  /** A check has taken `forMs` so far. */
  onWaiting?(name: CheckName, forMs: number): void;
  readonly logger?: Logger;
}

/**
 * Takes at most 15 s, and `idleMs`. What is wrong with the network is a finding, and no error.
 * @throws WstunError as startClient for options and invites; dial-cancelled
 */
export async function diagnose(options: DoctorOptions): Promise<Findings> {
  requireShapes(options);
  const invite = decodeInvite(options.invite);
  if (invite.role === 'exit') throw new WstunError('invite-for-exit');
  const { logger = silentLogger, encryption = 'on', signal = new AbortController().signal } = options;
  if (encryption === 'off') refuseUnsealed(invite);
  await checkProxyFile(options);
  const reach = await reachOf(options, invite, { logger, unsealed: encryption === 'off' });
  const networks = await openNetworks(options.state, logger);
  const proxies = useProxies(options, reach, () => {}, logger);
  try {
    const { target = USUAL_TARGET, idleMs, onCheck, onWaiting } = options;
    const probes = new RealProbes(options, invite, { reach, networks, proxies });
    const events = { ...(onCheck && { onCheck }), ...(onWaiting && { onWaiting }) };
    return await new Examination({ probes, clock: systemClock, signal, target, idleMs, ...events }).run();
  } finally {
    await proxies.stop();
    await networks.close();
  }
}

interface Parts {
  readonly reach: Reach;
  readonly networks: Networks;
  readonly proxies: ProxyUse;
}

class RealProbes implements Probes {
  readonly carriers: readonly CarrierName[];
  private readonly dialer: RelaySessionDialer;

  constructor(
    private readonly options: DoctorOptions,
    invite: Invite,
    private readonly parts: Parts,
  ) {
    const { transport = 'auto', encryption = 'on', logger = silentLogger } = options;
    const { reach, networks } = parts;
    this.carriers = transport === 'auto' ? ['websocket', 'http'] : [transport];
    this.dialer = new RelaySessionDialer(invite, encryption, logger, { reach, known: networks.known });
  }

  get relays(): readonly string[] {
    return this.dialer.relays;
  }

  get clockCorrectionMs(): number {
    return this.dialer.clockCorrectionMs;
  }

  environment(relay: string, signal: AbortSignal) {
    return lookAtEnvironment(new URL(relay), this.options.proxy, signal);
  }

  listen(signal: AbortSignal) {
    return lookAtPort(this.options.listen ?? { host: '127.0.0.1', port: 1080 }, signal);
  }

  async names(relay: string, signal: AbortSignal) {
    const { reach, networks } = this.parts;
    const place = placeOfUrl(new URL(relay), reach);
    return await findNames(place.host, networks.known.lastGood(placeOf(place)), signal);
  }

  async paths(relay: string): Promise<readonly (Via | undefined)[]> {
    return (await this.parts.proxies.proxies?.proxiesFor(new URL(relay))) ?? [undefined];
  }

  async connect(
    relay: string,
    via: Via | undefined,
    signal: AbortSignal,
    onConnected: () => void,
  ): Promise<TlsFacts | undefined> {
    const { reach, networks } = this.parts;
    const options = { signal, reach, known: networks.known, via, onConnected };
    const connection = await dialConnection(new URL(relay), options);
    try {
      await secured(connection, options);
      return relay.startsWith('wss:') ? (acceptedCertificateOf(connection.socket) ?? RESUMED) : undefined;
    } catch (error) {
      if (!signal.aborted) connection.handleFailed();
      throw error;
    } finally {
      connection.socket.destroy();
    }
  }

  async open(
    relay: string,
    route: Route,
    signal: AbortSignal,
    onStage: (stage: LinkStage) => void,
  ): Promise<OpenSession> {
    const { logger = silentLogger } = this.options;
    return await openSession(this.dialer.by(relay, route, onStage), {
      ...{ signal, logger },
      onEstablished: () => onStage('established'),
    });
  }

  async loginPage(relay: string, signal: AbortSignal): Promise<WstunError | undefined> {
    // The search asks for the relay's name, in the clear: who goes elsewhere may want to hide it.
    const { connectTo, source } = this.parts.reach;
    const isDirect = (await this.paths(relay)).includes(undefined);
    return isDirect && connectTo === undefined && source === undefined ? findLoginPage(relay, { signal }) : undefined;
  }

  async unusedProxy(relay: string, signal: AbortSignal): Promise<string | undefined> {
    const { proxy = 'env' } = this.options;
    if (proxy !== 'env' && proxy !== 'none') return undefined;
    const { localProxy } = await this.environment(relay, signal);
    const variables = unusedVariables(new URL(relay), proxy).map((name) => [process.env[name] ?? '', `"$${name}"`]);
    const local = localProxy === undefined ? [] : [[`http://${localProxy}`, `http://${localProxy}`]];
    for (const [choice = '', argument = ''] of [...variables, ...local])
      if (await this.reaches(relay, choice, signal)) return argument;
    return undefined;
  }

  async answersAt443(relay: string, signal: AbortSignal): Promise<boolean> {
    const url = new URL(relay);
    const { reach } = this.parts;
    if (reach.connectTo !== undefined) return false;
    const there = new URL(`ws://${url.hostname}:443`);
    const connection = await dialConnection(there, { signal, reach, timeoutMs: OTHER_PORT_MS }).catch(() => undefined);
    connection?.socket.destroy();
    return connection !== undefined;
  }

  private async reaches(relay: string, choice: string, signal: AbortSignal): Promise<boolean> {
    try {
      const [via] = await createProxyChooser({
        choice,
        source: PROXY_VARIABLES,
        tls: this.parts.reach.tls.forProxies(),
      }).proxiesFor(new URL(relay));
      if (via === undefined) return false;
      await this.connect(relay, via, signal, () => {});
      return true;
    } catch {
      return false;
    }
  }
}
