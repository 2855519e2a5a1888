/** The proxy for a program: that of a client that runs on this machine, or of one that is started for it. */
import type { Client, ClientEvents, ClientOptions } from '../app/client.ts';
import { startConnectedClient } from '../app/connected-client.ts';
import { reachableHost } from '../app/own-address.ts';
import type { ProxyOptions } from '../app/proxy-options.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { findProxy, type ProxyFinding } from '../programs/find-proxy.ts';
import { defaultStateDir } from '../state/default-dir.ts';
import { findInvite } from './find-invite.ts';
import type { Output } from './output.ts';
import { proxyOptions } from './proxy-options.ts';
import { type ReachTexts, reachOptions } from './reach-options.ts';

export interface ProgramProxyOptions extends ProxyOptions, ReachTexts, Pick<ClientOptions, 'transport'> {
  readonly listen?: HostPort;
  readonly user?: { readonly user: string; readonly pass: string };
  readonly inviteFile?: string;
}

export interface ProgramProxy {
  readonly address: HostPort;
  readonly credentials: { readonly user: string; readonly pass: string } | undefined;
  /** The one that was started for the program. */
  readonly own: Client | undefined;
}

/** Where a client listens by default. */
const USUAL: HostPort = { host: '127.0.0.1', port: 1080 };
/** For the first session: a slow network needs several attempts. */
const CONNECT_LIMIT_MS = 30_000;

/** Where the proxy of the running client is, as far as is known. */
export async function runningProxy(given: HostPort | undefined): Promise<HostPort> {
  return given ?? USUAL;
}

/** @throws WstunError proxy-foreign, proxy-password-unknown */
export async function lookAt(
  address: HostPort,
  user: ProgramProxyOptions['user'],
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
 * @throws WstunError as `lookAt`, proxy-absent, invite-missing, own-client-late, and as startClient
 */
export async function openProgramProxy(
  options: ProgramProxyOptions,
  { output, signal, events }: { readonly output: Output; readonly signal: AbortSignal; readonly events?: ClientEvents },
): Promise<ProgramProxy> {
  // An invite that is given by a file is meant for this program.
  if (options.inviteFile === undefined) {
    const address = await runningProxy(options.listen);
    const found = await lookAt(address, options.user);
    if (found !== 'absent')
      return { address, credentials: found === 'unlocked' ? options.user : undefined, own: undefined };
    if (options.listen !== undefined) throw new WstunError('proxy-absent', formatHostPort(address));
  }
  const own = await startOwn(options, output, signal, events);
  return { address: { ...own.listen, host: reachableHost(own.listen.host) }, credentials: undefined, own };
}

async function startOwn(
  options: ProgramProxyOptions,
  output: Output,
  signal: AbortSignal,
  events: ClientEvents = {},
): Promise<Client> {
  const invite = await findInvite({ invite: undefined, ...options });
  if (invite === undefined)
    throw new WstunError('invite-missing', `no client listens at ${formatHostPort(USUAL)} either`, {
      fix: 'Start one with: wstun client. Or give an invite with --invite-file FILE, or in $WSTUN_INVITE.',
    });
  let said = '';
  return await startConnectedClient({
    ...proxyOptions(options),
    ...reachOptions(options),
    ...(options.transport && { transport: options.transport }),
    state: defaultStateDir('client', process.env),
    ...{ invite, events, signal, limitMs: CONNECT_LIMIT_MS, logger: output.logger },
    onAttemptFailed: ({ message }) => {
      if (message !== said) output.say(`wstun: ${message} Trying again.`);
      said = message;
    },
  });
}
