/** `wstun relay`: the gate, the rendezvous, the built-in exit and the access list, put together and kept running until a signal. */
import { networkInterfaces } from 'node:os';
import type { Identity } from '../crypto/keys.ts';
import { parseRelayUrl } from '../crypto/relay-url.ts';
import { ReplayMemory } from '../crypto/replay-memory.ts';
import { WstunError } from '../errors.ts';
import type { Resolver } from '../exit/resolver.ts';
import { parsePathPrefix } from '../relay/gate.ts';
import type { ListenPlace } from '../relay/listen.ts';
import { DEFAULT_LINKS, type RelayLimits, type RelayServer, startRelayServer } from '../relay/relay-server.ts';
import { watchIdentity } from '../state/identity-file.ts';
import { loadKnownExits } from '../state/known-exits.ts';
import { type ProcessLimits, readLimits } from '../state/limits-file.ts';
import { readRegistration } from '../state/registration-file.ts';
import { saveRelayUrl } from '../state/relay-settings.ts';
import type { StateDir } from '../state/state-dir.ts';
import { openUsage } from '../state/usage-file.ts';
import { openUsedTickets } from '../state/used-tickets.ts';
import { accessFile, inviteNewBearer, openState, relayIssuer } from './access.ts';
import { watchDescriptors } from './descriptor-guard.ts';
import { MemoryGuard } from './memory-guard.ts';
import { formatHostPort, type HostPort } from './options.ts';
import { Output, type OutputOptions, printLine } from './output.ts';
import { passedSockets } from './passed-sockets.ts';
import { RelayCore } from './relay-core.ts';
import { createSessions, followAccess, type Keys, LiveAccess, loadKeys } from './serving.ts';
import { DRAIN_MS, firstSignal } from './shutdown.ts';
import { TlsFiles } from './tls-files.ts';

/** Streams of the relay's own exit, connections without a ticket, files. */
const DESCRIPTORS_BESIDE_LINKS = 1_000;

interface RelayOptions extends OutputOptions {
  readonly listen: readonly ListenPlace[];
  readonly state?: string;
  readonly url?: string;
  readonly path?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly admin?: HostPort;
  /** 0: neither a bound by address nor penalties. */
  readonly maxPendingPerAddress?: number;
  readonly dns?: readonly string[];
  /** False: only named exits serve here. */
  readonly exit?: boolean;
  /** Of sessions at the relay's own exit, ms. */
  readonly resumeWindow?: number;
  /** Instead of one that asks name servers. */
  readonly resolver?: Resolver;
}

export async function runRelay(options: RelayOptions): Promise<void> {
  const output = new Output(options);
  const passed = passedSockets(process.env, process.pid);
  const relay = await startRelay(passed.length > 0 ? { ...options, listen: passed } : options, output);
  // Before anybody hears that it is ready: a signal that follows at once is to drain, not to kill.
  const signalled = firstSignal(() => relay.close(0));
  const { listen, url, admin, invite } = relay;
  output.event({ event: 'ready', role: 'relay', listen, url, ...(admin && { admin }), ...(invite && { invite }) });
  output.say(`wstun relay is ready on ${listen.join(', ')}; clients reach it at ${url}`);
  if (invite !== undefined) showFirstInvite(output, invite, options.url === undefined);
  output.say(
    options.exit === false
      ? 'Let an exit register with: wstun access add NAME --role exit'
      : 'Invite more people with: wstun access add NAME',
  );
  await signalled;
  output.say('wstun: draining; again to end at once');
  await relay.close(DRAIN_MS);
}

export interface RunningRelay {
  readonly listen: readonly string[];
  readonly url: string;
  readonly admin?: string;
  /** Of the entry `default`, at the first start with this state directory. */
  readonly invite?: string;
  close(graceMs: number): Promise<void>;
}

export async function startRelay(options: RelayOptions, output: Output): Promise<RunningRelay> {
  const { logger } = output;
  // A slash at the front may be left out.
  const path = options.path === undefined ? undefined : parsePathPrefix(options.path.replace(/^(?!\/)/, '/'));
  const state = await openState(options);
  if ((await readRegistration(state)) !== undefined)
    throw new WstunError('state-unusable', `${state.path} belongs to an exit: a relay needs its own`);
  const keys = await loadKeys(state);
  // Whatever can be wrong is found before anything listens.
  if (options.url !== undefined) parseRelayUrl(options.url);
  const file = accessFile(state);
  const access = new LiveAccess();
  const known = await loadKnownExits(state, logger);
  let server: RelayServer | undefined;
  let publicUrl: string | undefined;
  const listening = () =>
    server === undefined ? [] : [...server.addresses, server.adminAddress].flatMap((address) => address?.port ?? []);
  const ownPorts = () => [...listening(), ...portOf(publicUrl)];
  const { dns, resolver, resumeWindow } = options;
  const usage = await openUsage(state, logger);
  const limits = await readLimits(state);
  const memory = new MemoryGuard(limits.memory);
  const isOverloaded = () => memory.isOver();
  const descriptors = watchDescriptors(logger, (limits.links ?? DEFAULT_LINKS) + DESCRIPTORS_BESIDE_LINKS);
  const isShortOfDescriptors = () => descriptors.isShort();
  const linksFree = () => server?.linksFree ?? 0;
  const replays = new ReplayMemory();
  const usedTickets = await openUsedTickets(state, replays, logger);
  const coreOf = (present: Keys): RelayCore => {
    const common = {
      access,
      usage,
      logger,
      ownPorts,
      dns,
      resolver,
      resumeWindow,
      limits,
      isOverloaded,
      isShortOfDescriptors,
    };
    const sessions = options.exit === false ? undefined : createSessions({ ...present, ...common });
    return new RelayCore({ keys: present, access, known, replays, sessions, isOverloaded, linksFree, logger });
  };
  let core = coreOf(keys);
  // Before anything listens: whoever came first would be refused. The keys of exits may be many, and whoever comes meanwhile waits.
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
  const url = await settleUrl(state, { ...options, path }, server.addresses);
  publicUrl = url;
  const invite = options.exit === false ? undefined : await inviteDefault(state, keys.identity, url);
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
    url,
    ...(server.adminAddress && { admin: formatHostPort(server.adminAddress) }),
    ...(invite !== undefined && { invite }),
    close: async (graceMs) => {
      tlsFiles?.stop();
      identityWatch.stop();
      server.close();
      await Promise.all([watch.close(), core.close(graceMs)]);
      await usage.close();
      await known.close();
      await usedTickets.close();
    },
  };
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
    throw new WstunError('bad-certificate', 'only one of the two was given');
  return new TlsFiles(tlsCert, tlsKey);
}

/** Makes the entry `default` when there has never been an access list here. */
async function inviteDefault(state: StateDir, identity: Identity, url: string): Promise<string | undefined> {
  const file = accessFile(state);
  if ((await file.readText()) !== undefined) return undefined;
  return inviteNewBearer(file, relayIssuer(identity, url), { name: 'default', role: 'client', allow: [] });
}

/** `path` as the gate has it. */
type UrlOptions = Pick<RelayOptions, 'url' | 'tlsCert'> & { readonly path: string | undefined };

/** What invites will say, remembered for `wstun access add`. */
async function settleUrl(state: StateDir, options: UrlOptions, addresses: readonly HostPort[]): Promise<string> {
  const url = parseRelayUrl(options.url ?? guessUrl(options, addresses));
  await saveRelayUrl(state, url);
  return url;
}

function guessUrl(options: UrlOptions, addresses: readonly HostPort[]): string {
  const { host, port } = addresses[0] ?? { host: '127.0.0.1', port: 0 };
  const everywhere = host === '0.0.0.0' || host === '::';
  const reachable = formatHostPort({ host: everywhere ? (outsideAddress() ?? '127.0.0.1') : host, port });
  return `${options.tlsCert === undefined ? 'ws' : 'wss'}://${reachable}${options.path ?? ''}`;
}

/** A reverse proxy on this machine leads back here. */
function portOf(url: string | undefined): number[] {
  if (url === undefined) return [];
  const { port, protocol } = new URL(url);
  return [port === '' ? (protocol === 'wss:' ? 443 : 80) : Number(port)];
}

function outsideAddress(): string | undefined {
  const infos = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return infos.find((info) => !info.internal && info.family === 'IPv4')?.address;
}

/** The line itself goes to stdout: it is a result, and a secret that has no place among logs. */
function showFirstInvite(output: Output, invite: string, guessed: boolean): void {
  output.say('\nOn the laptop, paste this line. It is a secret, and is shown only now:\n');
  if (!output.json) printLine(`  wstun client ${invite}`);
  if (guessed) output.say('\nIf clients reach this relay under another address: wstun access add NAME --url URL');
}
