/** `wstun relay`: runs a relay until a signal. */
import type { AcmeOptions } from '../app/acme.ts';
import { serveControl } from '../app/control.ts';
import { portOf } from '../app/public-url.ts';
import { type Relay, type RelayOptions, startRelay } from '../app/relay.ts';
import { WstunError } from '../errors.ts';
import type { HostPort } from '../net/host-port.ts';
import { startOf } from '../workers/worker-environment.ts';
import { type ClusterTexts, clusterPlaceOf } from './access-place.ts';
import { type ConfigFollower, type Following, followConfig } from './config/follow.ts';
import { LIVE_KEYS } from './config/live.ts';
import type { Settled } from './config/settle.ts';
import { type DialTexts, dialOptions } from './dial-options.ts';
import { stateArgument, stateDirFor } from './find-state.ts';
import { guessedAddressText } from './guessed-address.ts';
import { followHangups } from './hangups.ts';
import { type Output, type OutputOptions, runWithOutput } from './output.ts';
import { type PassedSocket, passedSockets } from './passed-sockets.ts';
import { ServingScreen } from './serving-screen.ts';
import { firstSignal } from './shutdown.ts';

export interface RelayCommand
  extends OutputOptions,
    DialTexts,
    ClusterTexts,
    Pick<
      RelayOptions,
      | 'listen'
      | 'url'
      | 'ownUrl'
      | 'path'
      | 'decoy'
      | 'trustProxy'
      | 'proxyProtocol'
      | 'admin'
      | 'maxPendingPerAddress'
      | 'exit'
    > {
  readonly state?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsSelfSigned?: boolean;
  readonly acme?: readonly string[];
  readonly acmeEmail?: string;
  readonly acmeHttp?: HostPort;
  readonly acmeDirectory?: string;
  readonly acmeCa?: string;
  readonly acmeEab?: { readonly id: string; readonly key: string };
  readonly clusterUrl?: string;
  readonly clusterReplicas?: number;
  /** Milliseconds. */
  readonly resumeWindow?: number;
  /** Processes; default: 1. */
  readonly workers?: number;
}

/** What is said of a relay that serves. */
export type RelayFacts = Omit<Relay, 'invite' | 'remove' | 'update' | 'status' | 'close'>;

export async function runRelay(settled: Settled): Promise<void> {
  const given = settled.options as unknown as Omit<RelayCommand, 'listen'> & Partial<Pick<RelayCommand, 'listen'>>;
  const port = given.acme === undefined ? 8080 : 443;
  const options: RelayCommand = { ...given, listen: given.listen ?? [{ host: '0.0.0.0', port }] };
  const start = startOf(process.env, process.send !== undefined);
  if (start !== undefined) return (await import('./relay-worker.ts')).runWorker(start, options, settled);
  const { workers = 1 } = options;
  if (workers === 1) return runWithOutput(options, (output) => run(options, output, settled));
  const { runWorkers } = await import('./relay-workers.ts');
  return runWithOutput(options, (output) => runWorkers(workers, options, output, settled));
}

/** As the library takes them. */
export function relayOptionsOf(options: RelayCommand, passed: readonly PassedSocket[]): RelayOptions {
  const { resumeWindow, tlsCert, tlsKey, tlsSelfSigned, publicAddress, acme, workers, cluster: _, ...rest } = options;
  return {
    ...rest,
    ...dialOptions(options),
    ...tlsOf(options),
    ...acmeOf(options),
    ...clusterOf(options),
    ...(passed.length > 0 && { listen: passed }),
    ...(resumeWindow !== undefined && { resumeWindowMs: resumeWindow }),
    state: stateDirFor('relay', options),
  };
}

async function run(options: RelayCommand, output: Output, settled: Settled): Promise<NodeJS.Signals> {
  for (const warning of settled.warnings) output.logger.warn({}, warning);
  const passed = passedSockets(process.env, process.pid);
  const relay = await startRelay({ ...relayOptionsOf(options, passed), logger: output.logger });
  // Before anybody hears that it is ready: a signal that follows at once is to drain, not to kill.
  const signalled = firstSignal(() => relay.close(0), output);
  const config = followRelayConfig(relay, output, settled);
  followHangups(() => void config.reload());
  showReady(relay, options, output);
  const control = serveControl({
    ...{ role: 'relay', state: relay.state, logger: output.logger },
    status: () => relay.status(),
  });
  const screen = new ServingScreen(relay, { output, readsEnter: false });
  screen.begin();
  const signal = await signalled;
  screen.showClosing();
  await relay.close();
  await control.close();
  return signal;
}

/** Puts what changes in `wstun.toml` in force. */
export function followRelayConfig(relay: Relay, output: Output, settled: Settled): ConfigFollower {
  return followConfig({
    ...{ settled, output, live: LIVE_KEYS.relay, apply: applyTo(relay, output) },
    mayChange: (key, before, after) => key !== 'decoy' || kindOfDecoy(before) === kindOfDecoy(after),
  });
}

/** What it is and where, and how to let people in. */
export function showReady(relay: RelayFacts, options: RelayCommand, output: Output): void {
  const { listen, url, urls, pins, urlSource, urlFault, admin, firstInvite: invite } = relay;
  const certificate = options.acme && (relay.hasCertificate ? 'valid' : 'awaited');
  const more = {
    ...(urls.length > 1 && { urls }),
    ...(pins.length > 0 && { pins }),
    ...(certificate && { certificate }),
  };
  output.event({
    event: 'ready',
    role: 'relay',
    listen,
    url,
    ...more,
    ...(admin && { admin }),
    ...(invite && { invite }),
  });
  const said = urlSource === 'remembered' ? ' (remembered from an earlier --url)' : '';
  output.say(`the relay is ready on ${listen.join(', ')}; clients reach it at ${urls.join(' or ')}${said}`);
  if (pins.length > 0)
    output.say(`The certificate is self-signed. New invites have the pin of its key: ${pins.join(', ')}`);
  if (certificate === 'awaited') output.say('No client can connect before the first certificate is there.');
  if (urlFault !== undefined) output.logger.warn({ url }, urlFault);
  else sayWhatIsInFront(relay, options, output);
  output.say(`Its keys and its access list are in ${relay.state}.`);
  const inCluster = options.cluster === undefined ? '' : ' --cluster URL';
  const at = `${stateArgument(relay.state)}${inCluster}`;
  if (invite !== undefined) showFirstInvite(output, invite);
  if (urlSource === 'guessed') output.say(guessedAddressText(url));
  output.say(
    options.exit === false
      ? `Create an invite for an exit with: wstun access add NAME --role exit${at}`
      : `Create more invites with: wstun access add NAME${at}`,
  );
}

function applyTo(relay: Relay, output: Output): Following['apply'] {
  return async (changed) => {
    const options = changed as unknown as RelayCommand;
    const { trustProxy, decoy, maxPendingPerAddress, resumeWindow: resumeWindowMs, verbose = false } = options;
    const { publicAddresses: _fixed, ...dial } = dialOptions(options);
    await relay.update({
      ...dial,
      ...(trustProxy && { trustProxy }),
      ...(decoy !== undefined && { decoy }),
      ...(maxPendingPerAddress !== undefined && { maxPendingPerAddress }),
      ...(resumeWindowMs !== undefined && { resumeWindowMs }),
    });
    output.setVerbose(verbose);
  };
}

/** Clients connect to another port than this relay listens on, or with TLS, which it does not have. */
function sayWhatIsInFront({ url, listen }: RelayFacts, options: RelayCommand, output: Output): void {
  const { hostname, protocol } = new URL(url);
  const hasTls = options.acme !== undefined || options.tlsSelfSigned === true || options.tlsCert !== undefined;
  const isSamePort = listen.some((address) => address.endsWith(`:${portOf(url)}`));
  const needsTls = protocol === 'wss:' && !hasTls;
  if (isSamePort && !needsTls) return;
  const tls = needsTls ? ' with TLS, which this relay does not have' : '';
  const place = `${hostname}:${portOf(url)}`;
  output.say(`Clients connect to ${place}${tls}: a reverse proxy or a router must pass on what comes there.`);
}

/** A relay serves requests by other means for each. */
function kindOfDecoy(decoy: unknown): 'none' | 'url' | 'directory' {
  if (typeof decoy !== 'string') return 'none';
  return /^\w+:\/\//.test(decoy) ? 'url' : 'directory';
}

function tlsOf({ tlsCert, tlsKey, tlsSelfSigned = false }: RelayCommand): Pick<RelayOptions, 'tls'> {
  if (tlsSelfSigned && (tlsCert ?? tlsKey) !== undefined)
    throw new WstunError(
      'bad-option',
      '--tls-self-signed makes a certificate, so --tls-cert and --tls-key cannot be given with it',
    );
  if (tlsSelfSigned) return { tls: 'self-signed' };
  if (tlsCert === undefined && tlsKey === undefined) return {};
  if (tlsCert === undefined || tlsKey === undefined)
    throw new WstunError('bad-certificate', 'only one of them was given');
  return { tls: { certFile: tlsCert, keyFile: tlsKey } };
}

function acmeOf(options: RelayCommand): Pick<RelayOptions, 'acme'> {
  const { acme, acmeEmail: email, acmeHttp: http, acmeDirectory: directory, acmeCa: caFile, acmeEab } = options;
  const more: Omit<AcmeOptions, 'domains'> = {
    ...(email !== undefined && { email }),
    ...(http && { http }),
    ...(directory !== undefined && { directory }),
    ...(caFile !== undefined && { caFile }),
    ...(acmeEab && { externalAccount: acmeEab }),
  };
  if (acme !== undefined) return { acme: { domains: acme, ...more } };
  // The account may come from a variable that is set for other uses.
  const given = Object.keys(more).some((name) => name !== 'externalAccount');
  if (given) throw new WstunError('bad-option', '--acme-… needs --acme DOMAIN');
  return {};
}

function clusterOf(options: RelayCommand): Pick<RelayOptions, 'cluster'> {
  const { clusterUrl: url, clusterReplicas: replicas, clusterName, clusterCreds, clusterCa } = options;
  const place = clusterPlaceOf(options);
  if (place !== undefined)
    return { cluster: { ...place, ...(url !== undefined && { url }), ...(replicas !== undefined && { replicas }) } };
  const isGiven = [url, replicas, clusterName, clusterCreds, clusterCa].some((each) => each !== undefined);
  if (isGiven) throw new WstunError('bad-option', '--cluster-… needs --cluster URL');
  return {};
}

/** The line itself goes to stdout: it is a result, and a secret that has no place among logs. */
function showFirstInvite(output: Output, invite: string): void {
  output.show('\nPaste this line on the laptop. It is a secret, and is shown only once:\n', {
    instead: 'the line for the laptop is on stdout, a secret that is shown only once',
  });
  if (!output.json) output.result(`  wstun client ${invite}`);
}
