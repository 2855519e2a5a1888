/**
 * `wstun relay`: the gate, the rendezvous, the built-in exit and the access list, put together and kept running until a
 * signal.
 */

import { AccessControl, followAccess } from '../app/access-control.ts';
import { watchDescriptors } from '../app/descriptor-guard.ts';
import { createSessions, type Keys, loadKeys } from '../app/dialing-sessions.ts';
import { type DialOptions, diallingOf } from '../app/dialling.ts';
import { accessFile, inviteNewPeer, relayIssuer } from '../app/invites.ts';
import { MemoryGuard } from '../app/memory-guard.ts';
import { type PublicUrl, portOf, settleUrl } from '../app/public-url.ts';
import { RelayRouter } from '../app/relay-routing.ts';
import { TlsFiles } from '../app/tls-files.ts';
import type { Identity } from '../crypto/keys.ts';
import { parseRelayUrl } from '../crypto/relay-url.ts';
import { ReplayGuard } from '../crypto/replay-guard.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { parsePathPrefix } from '../relay/gate.ts';
import type { ListenPlace } from '../relay/listen.ts';
import { DEFAULT_LINKS, type RelayLimits, type RelayServer, startRelayServer } from '../relay/relay-server.ts';
import { watchIdentity } from '../state/identity-file.ts';
import { loadKnownExits } from '../state/known-exits.ts';
import { type ProcessLimits, readLimits } from '../state/limits-file.ts';
import { readRegistration } from '../state/registration-file.ts';
import { openStateDir, type StateDir } from '../state/state-dir.ts';
import { openUsage } from '../state/usage-file.ts';
import { openUsedTickets } from '../state/used-tickets.ts';
import { stateArgument, stateDirFor } from './find-state.ts';
import { Output, type OutputOptions, printLine } from './output.ts';
import { passedSockets } from './passed-sockets.ts';
import { DRAIN_MS, firstSignal } from './shutdown.ts';

/** Streams of the relay's own exit, connections without a ticket, files. */
const DESCRIPTORS_BESIDE_LINKS = 1_000;

interface RelayOptions extends OutputOptions, DialOptions {
  readonly listen: readonly ListenPlace[];
  readonly state?: string;
  readonly url?: string;
  readonly path?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly admin?: HostPort;
  /** 0: neither a bound by address nor penalties. */
  readonly maxPendingPerAddress?: number;
  /** False: only named exits serve here. */
  readonly exit?: boolean;
  /** Of sessions at the relay's own exit, ms. */
  readonly resumeWindow?: number;
}

export async function runRelay(options: RelayOptions): Promise<void> {
  const output = new Output(options);
  const passed = passedSockets(process.env, process.pid);
  const relay = await startRelay(passed.length > 0 ? { ...options, listen: passed } : options, output);
  // Before anybody hears that it is ready: a signal that follows at once is to drain, not to kill.
  const signalled = firstSignal(() => relay.close(0));
  const { listen, url, admin, invite } = relay;
  output.event({ event: 'ready', role: 'relay', listen, url, ...(admin && { admin }), ...(invite && { invite }) });
  const { source, fault } = relay.settled;
  const said = source === 'remembered' ? ' (remembered from an earlier --url)' : '';
  output.say(`wstun relay is ready on ${listen.join(', ')}; clients reach it at ${url}${said}`);
  if (fault !== undefined) output.logger.warn({ url }, fault);
  const at = stateArgument(relay.state);
  if (invite !== undefined) showFirstInvite(output, invite);
  if (source === 'guessed')
    output.say('If clients reach this relay at another address, start it once with: --url URL.');
  output.say(
    options.exit === false
      ? `Create an invite for an exit with: wstun access add NAME --role exit${at}`
      : `Create more invites with: wstun access add NAME${at}`,
  );
  await signalled;
  output.say('wstun: draining; press Ctrl-C again to stop now');
  await relay.close(DRAIN_MS);
}

export interface RunningRelay {
  readonly listen: readonly string[];
  readonly url: string;
  readonly settled: PublicUrl;
  /** The path of its directory. */
  readonly state: string;
  readonly admin?: string;
  /** Of the entry `default`, at the first start with this state directory. */
  readonly invite?: string;
  close(graceMs: number): Promise<void>;
}

export async function startRelay(options: RelayOptions, output: Output): Promise<RunningRelay> {
  const { logger } = output;
  // A slash at the front may be left out.
  const path = options.path === undefined ? undefined : parsePathPrefix(options.path.replace(/^(?!\/)/, '/'));
  const state = await openOwnState(options);
  const keys = await loadKeys(state);
  // Whatever can be wrong is found before anything listens.
  if (options.url !== undefined) parseRelayUrl(options.url);
  const file = accessFile(state);
  const access = new AccessControl();
  const known = await loadKnownExits(state, logger);
  let server: RelayServer | undefined;
  let publicUrl: string | undefined;
  const listening = () =>
    server === undefined ? [] : [...server.addresses, server.adminAddress].flatMap((address) => address?.port ?? []);
  // A reverse proxy on this machine leads back here.
  const ownPorts = () => [...listening(), ...(publicUrl === undefined ? [] : [portOf(publicUrl)])];
  const { resumeWindow } = options;
  const dialling = diallingOf(options, logger);
  const usage = await openUsage(state, logger);
  const limits = await readLimits(state);
  const memory = new MemoryGuard(limits.memory);
  const descriptors = watchDescriptors(logger, (limits.links ?? DEFAULT_LINKS) + DESCRIPTORS_BESIDE_LINKS);
  const guards = { isOverloaded: () => memory.isOver(), isShortOfDescriptors: () => descriptors.isShort() };
  const linksFree = () => server?.linksFree ?? 0;
  const replays = new ReplayGuard();
  const usedTickets = await openUsedTickets(state, replays, logger);
  const coreOf = (present: Keys): RelayRouter => {
    const common = { access, usage, logger, ownPorts, ...dialling, resumeWindow, limits, ...guards };
    const sessions = options.exit === false ? undefined : createSessions({ ...present, ...common });
    return new RelayRouter({ keys: present, access, known, replays, sessions, ...guards, linksFree, logger });
  };
  let core = coreOf(keys);
  // Before anything listens: whoever came first would be refused. The keys of exits may be many, and whoever comes
  // meanwhile waits.
  core.admit(access.replace(await file.read()));
  core.restoreExits();
  const tlsFiles = tlsFilesOf(options);
  const tls = await tlsFiles?.read();
  server = await startRelayServer({
    listen: options.listen,
    tickets: { open: (ticket, now, request = {}) => core.open(ticket, now, request) },
    logger,
    onLink: (link, admitted) => core.handleLink(link, admitted),
    ...(tls && { tls }),
    ...(path !== undefined && { path }),
    ...(options.admin && { admin: options.admin }),
    limits: frontLimits(limits, options),
    settled: core.restored(),
  });
  tlsFiles?.follow(server.setTls, logger);
  const settled = await settleUrl(state, { ...options, tls: tls !== undefined, path }, server.addresses);
  publicUrl = settled.url;
  await dialling.publicAddresses.followHost(new URL(settled.url).hostname);
  const invite = options.exit === false ? undefined : await inviteDefault(state, keys.identity, settled.url);
  const watch = await followAccess(file, access, logger, (kept) => core.admit(kept));
  const onRotated = async () => {
    const before = core;
    core = coreOf(await loadKeys(state));
    core.admit(new Set());
    before.retire();
    logger.info({}, 'the keys were rotated');
  };
  const identityWatch = watchIdentity(state, keys.identity, onRotated, logger);
  return {
    listen: server.addresses.map(formatHostPort),
    url: settled.url,
    settled,
    state: state.path,
    ...(server.adminAddress && { admin: formatHostPort(server.adminAddress) }),
    ...(invite !== undefined && { invite }),
    close: async (graceMs) => {
      tlsFiles?.stop();
      dialling.publicAddresses.stop();
      await identityWatch.close();
      server.close();
      await Promise.all([watch.close(), core.close(graceMs)]);
      await usage.close();
      await known.close();
      await usedTickets.close();
    },
  };
}

/** Made if it is missing. */
async function openOwnState(options: RelayOptions): Promise<StateDir> {
  const state = await openStateDir(stateDirFor('relay', options));
  if ((await readRegistration(state)) === undefined) return state;
  throw new WstunError('state-unusable', `${state.path} belongs to an exit, and a relay needs its own`);
}

/** The option goes before the file. */
function frontLimits(limits: ProcessLimits, { maxPendingPerAddress }: RelayOptions): Partial<RelayLimits> {
  const perSource = maxPendingPerAddress ?? limits.pending_per_address;
  return {
    ...(limits.links !== undefined && { links: limits.links }),
    ...(limits.pending !== undefined && { pendingSockets: limits.pending }),
    ...(perSource !== undefined && { pendingPerSource: perSource }),
  };
}

function tlsFilesOf({ tlsCert, tlsKey }: RelayOptions): TlsFiles | undefined {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined)
    throw new WstunError('bad-certificate', 'only one of them was given');
  return new TlsFiles(tlsCert, tlsKey);
}

/** Makes the entry `default` when there has never been an access list here. */
async function inviteDefault(state: StateDir, identity: Identity, url: string): Promise<string | undefined> {
  const file = accessFile(state);
  if ((await file.readText()) !== undefined) return undefined;
  return inviteNewPeer(file, relayIssuer(identity, url), { name: 'default', role: 'client', allow: [] });
}

/** The line itself goes to stdout: it is a result, and a secret that has no place among logs. */
function showFirstInvite(output: Output, invite: string): void {
  output.say('\nPaste this line on the laptop. It is a secret, and is shown only once:\n');
  if (!output.json) printLine(`  wstun client ${invite}`);
  output.say('');
}
