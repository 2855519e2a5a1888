/** The proxy for a program: that of a client that runs on this machine, or of one that is started for it. */
import type { Command } from 'commander';
import type { Client, ClientEvents, ClientOptions } from '../app/client.ts';
import { startConnectedClient } from '../app/connected-client.ts';
import type { ProxyOptions } from '../app/proxy-options.ts';
import { toldIfLong } from '../async/long-wait.ts';
import { systemClock } from '../clock.ts';
import { decodeInvite } from '../crypto/invite.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { findProxy, type ProxyFinding } from '../programs/find-proxy.ts';
import { defaultStateDir } from '../state/default-dir.ts';
import { type ClientInvite, chooseInvite, isAccessGone, keepOptions } from './client-invite.ts';
import { clientCommand } from './commands/client.ts';
import { settleCommand } from './config/roles.ts';
import type { Settled } from './config/settle.ts';
import type { Output } from './output.ts';
import { proxyOptions } from './proxy-options.ts';
import { type ReachTexts, reachOptions } from './reach-options.ts';
import { chooseClient, findRunningClients, localAddress } from './running-client.ts';

interface Credentials {
  readonly user: string;
  readonly pass: string;
}

/** What a client on this machine is set to, as far as it matters here. */
interface ClientSettings
  extends ProxyOptions,
    ReachTexts,
    Pick<ClientOptions, 'transport' | 'encryption' | 'links' | 'linkMaxBytes' | 'tproxy' | 'redirect'> {
  readonly listen: HostPort;
  readonly user?: Credentials;
  readonly as?: string;
  readonly viaBrowser?: string | true;
  readonly browserArg?: readonly string[];
  /** Milliseconds. */
  readonly resumeWindow?: number;
  readonly linkMaxAge?: number;
}

/** What is known before anything is looked for. */
export interface ProxyWish {
  readonly settings: ClientSettings;
  readonly settled: Settled;
  /** Whether an option was typed, by its attribute. */
  isTyped(name: string): boolean;
}

/** A running client. */
export interface FoundProxy {
  readonly address: HostPort;
  /** Only if it requires them. */
  readonly credentials: Credentials | undefined;
}

export interface ProgramProxy extends FoundProxy {
  /** The one that was started for the program. */
  readonly own: Client | undefined;
  /** Ends that one. Never rejects. */
  close(): Promise<void>;
}

/** Where a client listens by default. */
const USUAL: HostPort = { host: '127.0.0.1', port: 1080 };
/** For the first session: a slow network needs several attempts. */
const CONNECT_LIMIT_MS = 30_000;

/** Of a command, what is not meant for a client that it starts. */
const NOT_OF_CLIENTS: ReadonlySet<string> = new Set(['listen', 'user', 'browser', 'browserArg', 'verbose']);

/**
 * What `wstun.toml`, variables and the options of the command say of a client on this machine.
 * @throws WstunError as of `settle`
 */
export async function readWish(command: Command): Promise<ProxyWish> {
  const ofClient = clientCommand();
  const isTyped = (name: string) => command.getOptionValueSource(name) === 'cli';
  for (const [name, value] of Object.entries(command.opts()))
    if (isTyped(name) && !NOT_OF_CLIENTS.has(name)) ofClient.setOptionValueWithSource(name, value, 'cli');
  const settled = await settleCommand('client', ofClient);
  const { listen, user } = command.opts<Partial<ClientSettings>>();
  const known = settled.options as unknown as ClientSettings;
  const at = localAddress(listen ?? (known.listen.port === 0 ? USUAL : known.listen));
  return { settings: { ...known, listen: at, ...(user && { user }) }, settled, isTyped };
}

/**
 * The running client that is meant: the one at the address that was typed, else one that answers at its control socket,
 * else the one at the usual address.
 * @throws WstunError proxy-foreign, proxy-password-unknown, bad-option where several are
 */
export function findClientProxy(wish: ProxyWish): Promise<FoundProxy | undefined> {
  return toldIfLong(() => 'a running client to answer', findMeant(wish), systemClock);
}

async function findMeant({ settings, settled, isTyped }: ProxyWish): Promise<FoundProxy | undefined> {
  const { listen, user, as } = settings;
  if (isTyped('listen')) return await lookAt(listen, user);
  const isConfigured = settled.values.some(({ setting }) => setting.key === 'listen');
  const chosen = chooseClient(await findRunningClients(defaultStateDir('client', process.env)), {
    profile: isTyped('as') ? as : undefined,
    preferred: { profile: as, address: isConfigured ? listen : undefined },
  });
  if (chosen !== undefined) return await lookAt(chosen.address, user);
  // Of a client without a control socket nobody knows whose invite it uses.
  return isTyped('as') ? undefined : await lookAt(listen, user);
}

/** @throws WstunError proxy-foreign, proxy-password-unknown */
async function lookAt(address: HostPort, user: Credentials | undefined): Promise<FoundProxy | undefined> {
  const found: ProxyFinding = await findProxy(address, user);
  const at = formatHostPort(address);
  switch (found) {
    case 'absent':
      return undefined;
    case 'foreign':
      throw new WstunError('proxy-foreign', at);
    case 'closed':
      throw new WstunError('proxy-password-unknown', user === undefined ? at : `${at} does not accept those given`);
    case 'open':
      return { address, credentials: undefined };
    case 'unlocked':
      return { address, credentials: user };
  }
}

/**
 * Looks for the proxy and, where a client has to be started, chooses its invite, for which a person may be asked. What
 * is returned opens the proxy; the signal ends its wait for a connection.
 * @throws WstunError as `readWish`, `findClientProxy` and chooseInvite, proxy-absent; what is returned: as startClient,
 * own-client-late
 */
export async function planProgramProxy(
  command: Command,
  { output, events }: { readonly output: Output; readonly events?: ClientEvents },
): Promise<(signal: AbortSignal) => Promise<ProgramProxy>> {
  const wish = await readWish(command);
  const { settings, settled, isTyped } = wish;
  const hasFile = isTyped('inviteFile');
  // An invite that is given by a file is meant for this program.
  const found = hasFile ? undefined : await findClientProxy(wish);
  if (found !== undefined) return () => Promise.resolve({ ...found, own: undefined, close: () => Promise.resolve() });
  if (isTyped('listen')) throw new WstunError('proxy-absent', formatHostPort(settings.listen));
  const invite = await chooseOwnInvite(settled, hasFile, output);
  return async (signal) => {
    const own = await startOwn(settings, { invite, output, signal, events });
    return { address: own.listen, credentials: undefined, own, close: () => closeOwn(own, invite) };
  };
}

/** A client that a command always has for itself. */
export interface OwnClientPlan {
  /** URLs. */
  readonly relays: readonly string[];
  /** @throws WstunError as startClient, own-client-late */
  start(signal: AbortSignal, hooks: ClientHooks): Promise<{ readonly client: Client; close(): Promise<void> }>;
}

type ClientHooks = Pick<ClientOptions, 'lookup' | 'beforeDial'>;

/** Chooses the invite, for which a person may be asked. @throws WstunError as `readWish` and chooseInvite */
export async function planOwnClient(
  command: Command,
  { output, events }: { readonly output: Output; readonly events: ClientEvents },
): Promise<OwnClientPlan & { readonly settings: ClientSettings }> {
  const { settings, settled, isTyped } = await readWish(command);
  const invite = await chooseOwnInvite(settled, isTyped('inviteFile'), output);
  return {
    settings,
    relays: decodeInvite(invite.text).relayUrls,
    start: async (signal, hooks) => {
      const client = await startOwn(settings, { invite, output, signal, events, hooks });
      return { client, close: () => closeOwn(client, invite) };
    },
  };
}

/** @param hasFile an invite that is given by a file is not kept */
async function chooseOwnInvite(settled: Settled, hasFile: boolean, output: Output): Promise<ClientInvite> {
  const options = keepOptions(settled, undefined);
  const state = defaultStateDir('client', process.env);
  try {
    return await chooseInvite({ ...options, ...(hasFile && { keep: false }) }, state, output);
  } catch (error) {
    throw error instanceof WstunError && error.fault === 'invite-missing' ? withoutArgument(error) : error;
  }
}

/** Their arguments are those of a program. */
function withoutArgument({ detail }: WstunError): WstunError {
  return new WstunError('invite-missing', detail, {
    fix: 'Give it with --invite-file FILE, or in $WSTUN_INVITE, or start wstun client INVITE once, which keeps it for all commands of this user.',
  });
}

async function closeOwn(own: Client, invite: ClientInvite): Promise<void> {
  const ended = own.ended.then(
    () => undefined,
    (error: unknown) => error,
  );
  await own.close(0);
  if (isAccessGone(await ended)) await invite.giveUp();
}

interface OwnClient {
  readonly invite: ClientInvite;
  readonly output: Output;
  readonly signal: AbortSignal;
  readonly events: ClientEvents | undefined;
  readonly hooks?: ClientHooks;
}

async function startOwn(
  settings: ClientSettings,
  { invite, output, signal, events, hooks }: OwnClient,
): Promise<Client> {
  const { resumeWindow, linkMaxAge, browserArg, transport, encryption, links, linkMaxBytes, viaBrowser } = settings;
  let said = '';
  // Before the first attempt: whoever has pasted it cannot do so again.
  await invite.keep();
  const started = startConnectedClient({
    ...proxyOptions(settings),
    ...reachOptions(settings),
    ...(transport && { transport }),
    ...(encryption && { encryption }),
    ...(links && { links }),
    ...(linkMaxBytes !== undefined && { linkMaxBytes }),
    ...(linkMaxAge !== undefined && { linkMaxAgeMs: linkMaxAge }),
    ...(resumeWindow !== undefined && { resumeWindowMs: resumeWindow }),
    ...(viaBrowser && { viaBrowser }),
    ...(viaBrowser && browserArg && { browserArgs: browserArg }),
    events: { ...events, onRelays: ({ invite: next }) => void invite.learn(next) },
    ...hooks,
    state: defaultStateDir('client', process.env),
    ...{ invite: invite.text, signal, limitMs: CONNECT_LIMIT_MS, logger: output.logger },
    onAttemptFailed: ({ message }) => {
      // Else the owner of the events says it.
      if (events === undefined && message !== said) output.say(`${message} Trying again.`);
      said = message;
    },
  });
  const [relay = ''] = decodeInvite(invite.text).relayUrls;
  // Else the owner of the events says what takes long.
  const what = events === undefined ? `a link to ${new URL(relay).host}` : undefined;
  try {
    const client = await toldIfLong(() => what, started, systemClock);
    await invite.prove();
    return client;
  } catch (error) {
    if (isAccessGone(error)) await invite.giveUp();
    throw error;
  }
}
