/**
 * Makes the checks one after another, each only where what it depends on works, and tries what a client would try. Owns
 * the order, the time limits and what is told; `Probes` does everything that touches the world.
 */
import type { Clock } from '../clock.ts';
import { type FaultName, WstunError } from '../errors.ts';
import { formatHostPort } from '../net/host-port.ts';
import type { Via } from '../transport/connection/via.ts';
import { isWorth, obstacleOf } from '../tunnel/routes/obstacles.ts';
import { type CarrierName, keyOf, type Route, routesBy } from '../tunnel/routes/route.ts';
import { type Check, type CheckName, checkOfFault } from './checks.ts';
import { judgeNames, suspicionOf } from './names.ts';
import type { LinkStage, NameFacts, OpenSession, Probes, Target, TlsFacts } from './probes.ts';
import { Steps } from './step.ts';
import { examineStreams, type StreamFindings } from './stream-checks.ts';
import { causeOf, type Hints, mayBeSomethingElse } from './verdict.ts';

/** Of the whole examination, ms, without what the user asks for beside it. */
const TOTAL_MS = 13_500;
/** Of each step, ms. A step that could not have so much is not made: its failure would mean nothing. */
const LISTEN_MS = 1_000;
const NAMES_MS = 3_000;
const PATHS_MS = 3_000;
const TCP_AND_TLS_MS = 5_000;
const LINK_MS: Readonly<Record<CarrierName, number>> = { websocket: 4_000, http: 6_500 };
const HINTS_MS = 3_000;
const LEAST_MS = 1_500;
/** A clock that is off by less gets in. */
const SKEW_THAT_MATTERS_MS = 60_000;

export interface ExaminationOptions {
  readonly probes: Probes;
  readonly clock: Clock;
  /** Ends it. */
  readonly signal: AbortSignal;
  readonly target: Target;
  /** How long a link is held without a stream, ms. Default: it is not. */
  readonly idleMs?: number | undefined;
  /** As each check is over. */
  onCheck?(check: Check): void;
  /** A check takes long: so far `forMs`. */
  onWaiting?(name: CheckName, forMs: number): void;
}

export interface Findings {
  readonly checks: readonly Check[];
  /** Why a client does not work here. Undefined: it works. */
  readonly fault: WstunError | undefined;
  /** What was in the way of some route, or is wrong, although a client works. */
  readonly remark: WstunError | undefined;
  /** By which route a client gets through. */
  readonly through: { readonly relay: string; readonly route: Route } | undefined;
  /** Another route than the first one that a client tries. */
  readonly isDetour: boolean;
  readonly ms: number;
}

interface Path {
  readonly relay: string;
  readonly proxy: Via | undefined;
}

export class Examination {
  private readonly checks: Check[] = [];
  private readonly steps: Steps;
  private readonly since: number;
  /** What the routes have met, in order. */
  private readonly failed: WstunError[] = [];
  /** By relay. */
  private readonly names = new Map<string, NameFacts>();
  private doubt: WstunError | undefined;
  private listenFault: WstunError | undefined;
  private clockFault: WstunError | undefined;
  private firstRoute: string | undefined;
  private through: { readonly relay: string; readonly route: Route; readonly session: OpenSession } | undefined;

  constructor(private readonly options: ExaminationOptions) {
    const { clock, signal } = options;
    this.since = clock.now();
    this.steps = new Steps({
      ...{ clock, signal, until: this.since + TOTAL_MS },
      onWaiting: (name, forMs) => options.onWaiting?.(name, forMs),
    });
  }

  /** @throws WstunError dial-cancelled, where the signal has fired */
  async run(): Promise<Findings> {
    try {
      await this.examineMachine();
      for (const relay of this.options.probes.relays) {
        await this.examineRelay(relay);
        if (this.through !== undefined) break;
      }
      const streams = this.through && (await this.examineSession(this.through.session));
      const hints = this.through === undefined ? await this.lookForHints() : {};
      return this.conclude(streams, hints);
    } finally {
      await this.through?.session.close();
    }
  }

  // ── this machine ───────────────────────────────────────────────────────────────────────────────────────────────────

  private async examineMachine(): Promise<void> {
    const { probes } = this.options;
    const [relay = ''] = probes.relays;
    await this.check('environment', '', LISTEN_MS, async (signal) => {
      const { used, unused, isExcepted, localProxy } = await probes.environment(relay, signal);
      return [
        used.length === 0 ? 'no proxy is set for the relay' : used.join(', '),
        ...(isExcepted ? ['NO_PROXY names the relay'] : []),
        ...(unused.length > 0 ? [`not used for it: ${unused.join(', ')}`] : []),
        ...(localProxy === undefined ? [] : [`a proxy such as px or cntlm listens on ${localProxy}`]),
      ].join('; ');
    });
    this.listenFault = await this.check('listen', '', LISTEN_MS, async (signal) =>
      (await probes.listen(signal)) === 'free' ? 'free' : 'wstun is already running there',
    );
  }

  // ── a relay ────────────────────────────────────────────────────────────────────────────────────────────────────────

  private async examineRelay(relay: string): Promise<void> {
    const { probes } = this.options;
    let paths: readonly (Via | undefined)[];
    try {
      paths = await this.steps.run({ name: 'proxy', limitMs: PATHS_MS }, () => probes.paths(relay));
    } catch (cause) {
      return this.fail('proxy', hostOf(relay), errorOf(cause), 0);
    }
    for (const proxy of paths) {
      if (this.through !== undefined) return;
      if (this.steps.leftMs < LEAST_MS) return this.skip('tcp', placeOf({ relay, proxy }), 'no time was left for it');
      await this.examinePath({ relay, proxy }, paths);
    }
  }

  private async examinePath(path: Path, paths: readonly (Via | undefined)[]): Promise<void> {
    const { relay, proxy } = path;
    const routes = routesBy(this.options.probes.carriers, [proxy]);
    this.firstRoute ??= routes[0] && `${relay} ${keyOf(routes[0])}`;
    if (proxy === undefined && !(await this.examineNames(relay))) return;
    if (paths.length === 1 && proxy !== undefined) this.skip('names', hostOf(relay), `${proxy.name} resolves the name`);
    // A client that failed at one address begins with another one, if it knows one.
    if (!(await this.connect(path)) && !(this.knowsOtherAddress(path) && (await this.connect(path)))) return;
    let last: { readonly route: Route; readonly error: WstunError } | undefined;
    for (const route of routes) {
      if (last !== undefined && !isWorth(route, last.route, obstacleOf(last.error), true)) continue;
      if (this.steps.leftMs < LEAST_MS) return this.skip(route.carrier, placeOf(path), 'no time was left for it');
      const error = await this.openLink(relay, route);
      if (error === undefined) return;
      last = { route, error };
    }
  }

  /** False: nothing can be dialled. */
  private async examineNames(relay: string): Promise<boolean> {
    const since = this.options.clock.now();
    const step = { name: 'names', limitMs: NAMES_MS } as const;
    const facts = await this.steps.run(step, (signal) => this.options.probes.names(relay, signal)).catch(toError);
    const ms = this.options.clock.now() - since;
    const place = hostOf(relay);
    if (facts instanceof WstunError) {
      this.fail('names', place, facts, ms);
      return false;
    }
    if (facts === undefined) {
      this.skip('names', place, 'it is an address');
      return true;
    }
    this.names.set(relay, facts);
    const { detail, error, doubt } = judgeNames(facts);
    this.doubt ??= doubt;
    const failure = error ?? doubt;
    if (failure === undefined) this.add({ name: 'names', state: 'ok', ms, place, detail });
    else this.add({ name: 'names', state: 'failed', ms, place, detail: failure.what, error: failure });
    if (error !== undefined) this.failed.push(error);
    // As a client: an address at which the relay was reached before is used.
    return error === undefined || facts.lastGood !== undefined;
  }

  private knowsOtherAddress({ relay, proxy }: Path): boolean {
    const { addresses = [], lastGood } = this.names.get(relay) ?? {};
    const isConnected = this.checks.at(-1)?.name === 'tls';
    return isConnected && proxy === undefined && lastGood !== undefined && !addresses.includes(lastGood);
  }

  /** TCP and TLS, on a connection that carries nothing. */
  private async connect(path: Path): Promise<boolean> {
    const { clock, probes } = this.options;
    const { relay, proxy } = path;
    const place = placeOf(path);
    const first = proxy === undefined ? 'tcp' : 'proxy';
    const since = clock.now();
    let connectedAt: number | undefined;
    const handleConnected = (): void => {
      connectedAt = clock.now();
      this.add({ name: first, state: 'ok', ms: connectedAt - since, place, detail: '' });
    };
    const expired = (): WstunError =>
      connectedAt === undefined && proxy === undefined
        ? new WstunError('relay-unreachable', `${hostOf(relay)}: no answer`)
        : new WstunError(connectedAt === undefined ? 'proxy-slow' : 'link-slow', place);
    const step = { name: first, limitMs: TCP_AND_TLS_MS, expired } as const;
    const act = (signal: AbortSignal) => probes.connect(relay, proxy, signal, handleConnected);
    const tls = await this.steps.run(step, act).catch(toError);
    const ms = clock.now() - (connectedAt ?? since);
    if (tls instanceof WstunError) {
      this.fail(connectedAt === undefined ? first : 'tls', place, tls, ms);
      return false;
    }
    if (tls === undefined)
      this.skip('tls', place, 'none, the URL is ws://; the data is encrypted end to end all the same');
    else this.add({ name: 'tls', state: 'ok', ms, place, detail: this.describeTls(tls) });
    return true;
  }

  private describeTls({ issuer, validTo, isPinned, inspector }: TlsFacts): string {
    const until = Number.isNaN(validTo) ? [] : [`valid until ${new Date(validTo).toISOString().slice(0, 10)}`];
    const by = isPinned ? 'its key is pinned' : `issued by ${issuer}`;
    const seen = inspector === undefined ? [] : [`${inspector} inspects TLS here, and sees when and how much is sent`];
    return [by, ...until, ...seen].join('; ');
  }

  // ── a link ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Undefined: a session is there. */
  private async openLink(relay: string, route: Route): Promise<WstunError | undefined> {
    const { clock, probes } = this.options;
    const place = placeOf({ relay, proxy: route.proxy });
    const since = clock.now();
    const at = new Map<LinkStage, number>();
    const onStage = (stage: LinkStage): void => void at.set(stage, clock.now());
    const expired = (): WstunError =>
      new WstunError('link-slow', at.has('opened') ? `${place}: it was opened, and nothing came through it` : place);
    const name = route.carrier;
    const act = (signal: AbortSignal) => probes.open(relay, route, signal, onStage);
    const opened = await this.steps.run({ name, limitMs: LINK_MS[name], expired }, act).catch(toError);
    const openedAt = at.get('opened') ?? clock.now();
    if (opened instanceof WstunError) {
      this.failLink(opened, { name, place, isOpened: at.has('opened'), ms: clock.now() - since });
      return opened;
    }
    this.through = { relay, route, session: opened };
    const securedAt = at.get('secured') ?? openedAt;
    const establishedAt = at.get('established') ?? securedAt;
    this.add({ name, state: 'ok', ms: openedAt - since, place, detail: '' });
    this.addClock(place);
    this.add({ name: 'ticket', state: 'ok', ms: 0, place, detail: 'the relay accepts the invite' });
    const [keysMs, answerMs] = [securedAt - openedAt, establishedAt - securedAt];
    this.add({ name: 'handshake', state: 'ok', ms: keysMs, place: '', detail: 'the exit has the key of the invite' });
    this.add({ name: 'exit', state: 'ok', ms: answerMs, place: '', detail: 'it is there, and began a session' });
    const roundTripMs = Math.min(keysMs, answerMs);
    this.add({ name: 'round-trip', state: 'ok', ms: roundTripMs, place: '', detail: 'to the exit and back' });
    return undefined;
  }

  private failLink(
    error: WstunError,
    { name, place, isOpened, ms }: { name: CheckName; place: string; isOpened: boolean; ms: number },
  ): void {
    // 404 proves nothing: whether it is the relay's shows when the other carriers have been tried.
    const said = error.fault === 'relay-refused' ? undefined : checkOfFault(error.fault);
    if (said !== undefined && isOpened) this.add({ name, state: 'ok', ms, place, detail: '' });
    if (said !== 'clock') this.addClock(place);
    this.fail(said ?? name, place, error, ms);
  }

  /** Once, if there is something to say. */
  private addClock(place: string): void {
    if (this.checks.some(({ name }) => name === 'clock')) return;
    const { clockCorrectionMs: offMs } = this.options.probes;
    if (Math.abs(offMs) < SKEW_THAT_MATTERS_MS) {
      if (this.through === undefined) return;
      return this.add({ name: 'clock', state: 'ok', ms: 0, place, detail: 'less than two minutes off the relay’s' });
    }
    const seconds = Math.round(Math.abs(offMs) / 1000);
    const detail = `this clock is ${seconds} s ${offMs > 0 ? 'behind' : 'ahead of'} the relay's`;
    this.clockFault = new WstunError('clock-off', detail);
    this.add({ name: 'clock', state: 'failed', ms: 0, place, detail: this.clockFault.what, error: this.clockFault });
  }

  private async examineSession(session: OpenSession): Promise<StreamFindings> {
    const { clock, target, idleMs } = this.options;
    const add = (check: Check): void => this.add(check);
    return await examineStreams({ session, clock, target, idleMs, steps: this.steps, add });
  }

  // ── the end ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** What a client could not find out by itself. */
  private async lookForHints(): Promise<Hints> {
    const { probes } = this.options;
    const [relay = ''] = probes.relays;
    const doubtful = this.failed.filter(mayBeSomethingElse);
    if (doubtful.length === 0 || this.steps.leftMs < LEAST_MS) return {};
    const port = portOf(relay);
    const isDropped = port !== 443 && this.failed.some(({ detail }) => detail.endsWith(': no answer'));
    const look = (signal: AbortSignal) =>
      Promise.all([
        probes.loginPage(relay, signal).catch(() => undefined),
        probes.unusedProxy(relay, signal).catch(() => undefined),
        isDropped ? probes.answersAt443(relay, signal).catch(() => false) : false,
      ]);
    const step = { name: 'environment', limitMs: HINTS_MS } as const;
    const [login, unusedProxy, is443] = await this.steps.run(step, look).catch(() => []);
    // A certificate that is trusted for the name shows that it leads to the relay.
    const isProven = this.checks.some(({ name, state }) => name === 'tls' && state === 'ok');
    const facts = isProven ? undefined : this.names.get(relay);
    return {
      login,
      unusedProxy,
      names: facts && (this.doubt ?? suspicionOf(facts)),
      only443From: is443 ? port : undefined,
    };
  }

  private conclude(streams: StreamFindings | undefined, hints: Hints): Findings {
    const { through } = this;
    const cause = this.failed.length === 0 ? undefined : causeOf(this.failed, hints);
    if (through === undefined) this.nameCheckOf(this.failed);
    this.skipTheRest();
    const isDetour =
      through !== undefined && this.firstRoute !== `${through.relay} ${keyOf(through.route)}` && cause !== undefined;
    const ofMachine = this.listenFault;
    const fault = through === undefined ? (cause ?? ofMachine) : (streams?.fault ?? ofMachine);
    return {
      ...{ checks: this.checks, fault, isDetour },
      remark: fault === undefined ? (cause ?? this.doubt ?? this.clockFault) : undefined,
      through: through && { relay: through.relay, route: through.route },
      ms: this.options.clock.now() - this.since,
    };
  }

  /** What all carriers have met alike is no matter of the carriers. */
  private nameCheckOf(failed: readonly WstunError[]): void {
    const [first] = failed;
    const checks: Readonly<Partial<Record<FaultName, CheckName>>> = {
      'relay-refused': 'ticket',
      'handshake-failed': 'handshake',
    };
    const name = first && checks[first.fault];
    if (first === undefined || name === undefined || failed.length < 2) return;
    if (failed.every(({ fault }) => fault === first.fault))
      this.add({ name, state: 'failed', ms: 0, place: '', detail: first.what, error: first });
  }

  private skipTheRest(): void {
    const later: readonly CheckName[] = ['ticket', 'handshake', 'exit', 'policy', 'resolver', 'target', 'throughput'];
    for (const name of later)
      if (!this.checks.some((check) => check.name === name)) this.skip(name, '', 'what it needs does not work');
  }

  private fail(name: CheckName, place: string, error: WstunError, ms: number): void {
    this.failed.push(error);
    this.add({ name, state: 'failed', ms, place, detail: error.what, error });
  }

  private skip(name: CheckName, place: string, detail: string): void {
    this.add({ name, state: 'skipped', ms: 0, place, detail });
  }

  /** A check of this machine, on which no other one depends. */
  private async check(
    name: CheckName,
    place: string,
    limitMs: number,
    act: (signal: AbortSignal) => Promise<string>,
  ): Promise<WstunError | undefined> {
    const since = this.options.clock.now();
    const detail = await this.steps.run({ name, limitMs }, act).catch(toError);
    const ms = this.options.clock.now() - since;
    if (detail instanceof WstunError) {
      this.add({ name, state: 'failed', ms, place, detail: detail.what, error: detail });
      return detail;
    }
    this.add({ name, state: 'ok', ms, place, detail });
    return undefined;
  }

  private add(check: Check): void {
    const whole = { ...check, ms: Math.round(check.ms) };
    this.checks.push(whole);
    this.options.onCheck?.(whole);
  }
}

/** A cancelled examination is no finding. */
function toError(cause: unknown): WstunError {
  const error = errorOf(cause);
  if (error.fault === 'dial-cancelled') throw error;
  return error;
}

function errorOf(cause: unknown): WstunError {
  return cause instanceof WstunError ? cause : new WstunError('internal', String(cause));
}

function hostOf(relay: string): string {
  const url = new URL(relay);
  return formatHostPort({ host: url.hostname.replace(/^\[|\]$/g, ''), port: portOf(relay) });
}

function portOf(relay: string): number {
  const url = new URL(relay);
  return url.port === '' ? (url.protocol === 'wss:' ? 443 : 80) : Number(url.port);
}

function placeOf({ relay, proxy }: Path): string {
  return proxy === undefined ? hostOf(relay) : `${hostOf(relay)} through ${proxy.name}`;
}
