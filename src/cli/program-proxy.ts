/** The proxy for a program: that of a client that runs on this machine, or of one that is started for it. */
import type { Command } from 'commander';
import type { Client, ClientEvents, ClientOptions } from '../app/client.ts';
import { startConnectedClient } from '../app/connected-client.ts';
import { isAnyAddress } from '../app/own-address.ts';
import type { ProxyOptions } from '../app/proxy-options.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { findProxy, type ProxyFinding } from '../programs/find-proxy.ts';
import { defaultStateDir } from '../state/default-dir.ts';
import { clientCommand } from './commands/client.ts';
import { settleCommand } from './config/roles.ts';
import { findInvite } from './find-invite.ts';
import type { Output } from './output.ts';
import { proxyOptions } from './proxy-options.ts';
import { type ReachTexts, reachOptions } from './reach-options.ts';

interface Credentials {
  readonly user: string;
  readonly pass: string;
}

/** What a client on this machine is set to, as far as it matters here. */
interface ClientSettings
  extends ProxyOptions,
    ReachTexts,
    Pick<ClientOptions, 'transport' | 'encryption' | 'links' | 'linkMaxBytes'> {
  readonly listen: HostPort;
  readonly user?: Credentials;
  readonly invite?: string;
  readonly inviteFile?: string;
  readonly viaBrowser?: string | true;
  readonly browserArg?: readonly string[];
  /** Milliseconds. */
  readonly resumeWindow?: number;
  readonly linkMaxAge?: number;
}

export interface ProgramProxy {
  readonly address: HostPort;
  readonly credentials: Credentials | undefined;
  /** The one that was started for the program. */
  readonly own: Client | undefined;
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
export async function clientSettings(command: Command): Promise<ClientSettings> {
  const ofClient = clientCommand();
  for (const [name, value] of Object.entries(command.opts()))
    if (command.getOptionValueSource(name) === 'cli' && !NOT_OF_CLIENTS.has(name))
      ofClient.setOptionValueWithSource(name, value, 'cli');
  const { options } = await settleCommand('client', ofClient);
  const { listen, user } = command.opts<Partial<ClientSettings>>();
  const known = options as unknown as ClientSettings;
  const at = listen ?? (known.listen.port === 0 ? USUAL : known.listen);
  // Where it listens on all addresses, it does on this one.
  const host = isAnyAddress(at.host) ? (at.host === '::' ? '::1' : '127.0.0.1') : at.host;
  return { ...known, listen: { ...at, host }, ...(user && { user }) };
}

/** @throws WstunError proxy-foreign, proxy-password-unknown */
export async function lookAt(
  address: HostPort,
  user: Credentials | undefined,
): Promise<Exclude<ProxyFinding, 'foreign' | 'closed'>> {
  const found = await findProxy(address, user);
  const at = formatHostPort(address);
  if (found === 'foreign') throw new WstunError('proxy-foreign', at);
  if (found === 'closed')
    throw new WstunError('proxy-password-unknown', user === undefined ? at : `${at} does not accept those given`);
  return found;
}

/**
 * @param signal ends the wait for the connection
 * @throws WstunError as `clientSettings`, `lookAt` and startClient, proxy-absent, invite-missing, own-client-late
 */
export async function openProgramProxy(
  command: Command,
  { output, signal, events }: { readonly output: Output; readonly signal: AbortSignal; readonly events?: ClientEvents },
): Promise<ProgramProxy> {
  const settings = await clientSettings(command);
  const isGiven = (name: string) => command.getOptionValueSource(name) === 'cli';
  // An invite that is given by a file is meant for this program.
  if (!isGiven('inviteFile')) {
    const { listen: address, user } = settings;
    const found = await lookAt(address, user);
    if (found !== 'absent') return { address, credentials: found === 'unlocked' ? user : undefined, own: undefined };
    if (isGiven('listen')) throw new WstunError('proxy-absent', formatHostPort(address));
  }
  const own = await startOwn(settings, output, signal, events);
  return { address: own.listen, credentials: undefined, own };
}

async function startOwn(
  settings: ClientSettings,
  output: Output,
  signal: AbortSignal,
  events: ClientEvents | undefined,
): Promise<Client> {
  const { listen, user: _user, invite: given, inviteFile, resumeWindow, linkMaxAge, browserArg, ...rest } = settings;
  const invite = await findInvite({ invite: given, ...(inviteFile !== undefined && { inviteFile }) });
  if (invite === undefined)
    throw new WstunError('invite-missing', `no client listens at ${formatHostPort(listen)} either`, {
      fix: 'Start one with: wstun client. Or give an invite with --invite-file FILE, or in $WSTUN_INVITE.',
    });
  const { transport, encryption, links, linkMaxBytes, viaBrowser } = rest;
  let said = '';
  return await startConnectedClient({
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
    ...(events && { events }),
    state: defaultStateDir('client', process.env),
    ...{ invite, signal, limitMs: CONNECT_LIMIT_MS, logger: output.logger },
    onAttemptFailed: ({ message }) => {
      // Else the owner of the events says it.
      if (events === undefined && message !== said) output.say(`${message} Trying again.`);
      said = message;
    },
  });
}
