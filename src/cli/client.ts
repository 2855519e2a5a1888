/** `wstun client`: runs a client until a signal, or a fault that no retry could mend. */
import { type Client, type ClientEvents, type ClientOptions, startClient } from '../app/client.ts';
import { clientAnswers, serveControl } from '../app/control.ts';
import { reachableHost } from '../app/own-address.ts';
import type { ProxyOptions } from '../app/proxy-options.ts';
import { settledWithin } from '../async/abortable.ts';
import { systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { defaultStateDir } from '../state/default-dir.ts';
import { chooseInvite, isAccessGone, type KeepOptions, keepOptions } from './client-invite.ts';
import { ClientScreen } from './client-screen.ts';
import { type Following, followConfig } from './config/follow.ts';
import { concernsWay, LIVE_KEYS } from './config/live.ts';
import type { Settled } from './config/settle.ts';
import { FirstFailure } from './first-failure.ts';
import { followHangups } from './hangups.ts';
import { limitEvent, limitText } from './limit-report.ts';
import { parseTether, parseViaBrowser } from './options.ts';
import { counted, OutageReport, seconds } from './outage-report.ts';
import { type Output, type OutputOptions, runWithOutput } from './output.ts';
import { proxyOptions } from './proxy-options.ts';
import { describeProxy } from './proxy-usage.ts';
import { type ReachTexts, reachOptions } from './reach-options.ts';
import { reportDnsListening, reportForward, reportRemoteForward } from './remote-report.ts';
import { reportRoute } from './route-report.ts';
import { firstSignal } from './shutdown.ts';
import { stallEvent, stallText } from './stall-report.ts';
import { TetherReport } from './tether.ts';
import { reportBrowser } from './via-browser.ts';

/** At the end, for what is still to be kept: another process may hold the lock of the kept invites, ms. */
const KEPT_MS = 2_000;

interface ClientCommand
  extends OutputOptions,
    KeepOptions,
    ProxyOptions,
    ReachTexts,
    Pick<
      ClientOptions,
      | 'tether'
      | 'viaBrowser'
      | 'direct'
      | 'allowLan'
      | 'encryption'
      | 'once'
      | 'links'
      | 'bond'
      | 'linkMaxBytes'
      | 'pacDirect'
      | 'dnsListen'
      | 'transport'
      | 'tproxy'
      | 'redirect'
      | 'admin'
    > {
  readonly listen: HostPort;
  readonly browserArg?: readonly string[];
  readonly localForward?: readonly string[];
  readonly remoteForward?: readonly string[];
  readonly user?: { readonly user: string; readonly pass: string };
  /** Milliseconds. */
  readonly resumeWindow?: number;
  /** Milliseconds. */
  readonly linkMaxAge?: number;
}

/** @param given the arguments, joined */
function commandOf(settled: Settled, given: string | undefined): ClientCommand {
  const options = settled.options as Omit<ClientCommand, 'tether'> & { readonly tether?: string | true };
  const { invite: found, tether } = parseTether(given, options.tether);
  const { invite, viaBrowser } = parseViaBrowser(found, options.viaBrowser);
  const { tether: _tether, viaBrowser: _browser, invite: _invite, inviteFile: _file, ...rest } = options;
  return {
    ...{ ...rest, ...keepOptions(settled, invite) },
    ...(tether && { tether }),
    ...(viaBrowser && { viaBrowser }),
  };
}

export function runClient(settled: Settled, given: string | undefined): Promise<void> {
  const options = commandOf(settled, given);
  return runWithOutput(options, (output) => run(options, output, settled));
}

async function run(options: ClientCommand, output: Output, settled: Settled): Promise<NodeJS.Signals | undefined> {
  for (const warning of settled.warnings) output.logger.warn({}, warning);
  const { resumeWindow, linkMaxAge, browserArg, localForward, remoteForward, user: credentials, ...rest } = options;
  const state = defaultStateDir('client', process.env);
  const invite = await chooseInvite(options, state, output);
  const outage = new OutageReport(output);
  let kept: Promise<void> = Promise.resolve();
  const tether = new TetherReport(output);
  const firstFailure = new FirstFailure(output, options, invite.text);
  const showReady = () => {
    const { listen, admin } = client;
    kept = kept.then(() => invite.prove());
    output.event({ event: 'ready', role: 'client', listen: formatHostPort(listen), ...(admin && { admin }) });
    const address = { ...listen, host: reachableHost(listen.host) };
    output.show(describeProxy(listen, { address, user: credentials?.user }), {
      instead: `ready: SOCKS5, SOCKS4a and HTTP proxy on ${formatHostPort(listen)}`,
    });
  };
  const client: Client = await startClient({
    ...rest,
    ...proxyOptions(options),
    ...reachOptions(options),
    state,
    invite: invite.text,
    ...(credentials && { credentials }),
    ...(browserArg && { browserArgs: browserArg }),
    ...(localForward && { forwards: localForward }),
    ...(remoteForward && { remoteForwards: remoteForward }),
    ...(resumeWindow !== undefined && { resumeWindowMs: resumeWindow }),
    ...(linkMaxAge !== undefined && { linkMaxAgeMs: linkMaxAge }),
    events: firstFailure.follow({
      ...reports(output, outage, tether, showReady),
      onRelays: ({ relays, invite: next }) => {
        output.event({ event: 'relays', relays });
        kept = kept.then(() => invite.learn(next));
      },
    }),
    logger: output.logger,
  });
  kept = invite.keep();
  const config = followConfig({ settled, output, live: LIVE_KEYS.client, apply: applyTo(client, output) });
  followHangups(() => {
    output.logger.debug({ change: 'asked' }, 'the network may have changed');
    void config.reload();
    client.reconnect();
  });
  const control = serveControl({
    ...{ role: 'client', state: defaultStateDir('client', process.env), logger: output.logger },
    status: () => ({ ...client.status(), ...(invite.name !== undefined && { profile: invite.name }) }),
    answers: clientAnswers(client),
  });
  const screen = new ClientScreen(client, {
    ...{ output, outage, tether, page: options.tether === undefined ? 'browser' : 'phone' },
    hasPages: options.tether !== undefined || options.viaBrowser === 'open',
    isStdinFree: options.inviteFile !== '-',
  });
  screen.begin();
  try {
    return await runUntilSignal(client, output, outage, screen).finally(() => control.close());
  } catch (error) {
    if (isAccessGone(error)) kept = kept.then(() => invite.giveUp());
    throw error;
  } finally {
    await settledWithin(systemClock, KEPT_MS, kept);
  }
}

function applyTo(client: Client, output: Output): Following['apply'] {
  return async (changed, keys) => {
    const options = changed as ProxyOptions & ReachTexts & Pick<ClientCommand, 'user' | 'allowLan' | 'verbose'>;
    const { user: credentials, allowLan = false, verbose = false } = options;
    const way = { ...proxyOptions(options), ...reachOptions(options) };
    await client.update({ ...way, allowLan, ...(credentials && { credentials }) });
    output.setVerbose(verbose);
    if (concernsWay(keys)) client.reconnect();
  };
}

async function runUntilSignal(
  client: Client,
  output: Output,
  outage: OutageReport,
  screen: ClientScreen,
): Promise<NodeJS.Signals | undefined> {
  const close = (graceMs?: number) => {
    outage.handleOver();
    return client.close(graceMs);
  };
  const ended = client.ended.then(() => undefined);
  const signal = await Promise.race([ended, firstSignal(() => close(0), output)]).catch(async (error: unknown) => {
    if (error instanceof WstunError) output.sayFault(error);
    await close(0);
    throw error;
  });
  screen.showClosing();
  await close();
  return signal;
}

export function reports(
  output: Output,
  outage: OutageReport,
  tether: TetherReport,
  showReady: () => void,
): ClientEvents {
  return {
    onConnected: ({ first, awayMs, streamsLost }) => {
      outage.handleOver();
      if (first) return showReady();
      output.event({ event: 'connected', awayMs: Math.round(awayMs), streamsLost });
      output.say(`reconnected after ${seconds(awayMs)}; ${counted(streamsLost)} lost`);
    },
    onLinkLost: ({ streams }) => {
      output.event({ event: 'lost', streams });
      output.say(`link lost; ${counted(streams)} waiting for a new one`);
    },
    onResumed: ({ awayMs, streams }) => {
      outage.handleOver();
      output.event({ event: 'resumed', awayMs: Math.round(awayMs), streams });
      output.say(`resumed after ${seconds(awayMs)}; 0 streams lost`);
    },
    onStalled: (info) => {
      output.event(stallEvent(info));
      output.say(stallText(info));
    },
    onLimit: (limit) => {
      output.event(limitEvent(limit));
      output.say(limitText(limit));
    },
    onDraining: ({ streams }) => {
      output.event({ event: 'draining', streams });
      output.say(`the other end is shutting down; ${counted(streams)} may finish, and new ones use the next session`);
    },
    onSessionLost: (error, { streams, isFinal }) => {
      output.event({ event: 'session-lost', code: error.code, message: error.message, streams });
      if (!isFinal) output.say(`${error.message}`);
    },
    onFailed: (error, waitMs) => outage.handleFailed(error, waitMs, !tether.awaitsPhone),
    onRoute: (notice) => reportRoute(notice, output, outage),
    onTether: (notice) => tether.handle(notice),
    onBrowser: (notice) => reportBrowser(notice, output),
    onRemoteForward: (notice) => reportRemoteForward(notice, output),
    onForward: (notice) => reportForward(notice, output),
    onDnsListening: (listen) => reportDnsListening(listen, output),
    onTransparent: (kind, { host, port }) => {
      const listen = host === undefined ? String(port) : formatHostPort({ host, port });
      output.event({ event: 'transparent', kind, listen });
      output.say(
        `--${kind} ${listen}: takes what rules of the firewall lead there; wstun vpn --print ${kind} has them`,
      );
    },
  };
}
