/** Which of the clients that this user runs on this machine a command uses. */
import { askClients } from '../app/control.ts';
import { isAnyAddress } from '../app/own-address.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { findProxy } from '../programs/find-proxy.ts';
import { parseHostPort } from './options.ts';

export interface RunningClient {
  /** Where programs on this machine reach its proxy. */
  readonly address: HostPort;
  /** The name under which its invite is kept. */
  readonly profile: string | undefined;
}

export interface ClientChoice {
  /** Only one that uses the invite of this name. */
  readonly profile: string | undefined;
  /** Where there are several: what the configuration says of a client here. */
  readonly preferred: { readonly profile: string | undefined; readonly address: HostPort | undefined };
}

/** Those whose proxy can be reached from here. Never rejects. @param state the client's state directory */
export async function findRunningClients(state: string): Promise<readonly RunningClient[]> {
  const statuses = (await askClients(state)).filter(({ state: now }) => now !== 'closing');
  const found = await Promise.all(
    statuses.map(async ({ listen, profile }): Promise<RunningClient | undefined> => {
      const address = addressIn(listen);
      // A container may share this user's files, and not the network.
      const proxy = address === undefined ? 'absent' : await findProxy(address, undefined);
      return address === undefined || proxy === 'absent' || proxy === 'foreign' ? undefined : { address, profile };
    }),
  );
  return found.filter((client) => client !== undefined);
}

/** Undefined if none is meant. @throws WstunError bad-option where several are */
export function chooseClient(
  running: readonly RunningClient[],
  { profile, preferred }: ClientChoice,
): RunningClient | undefined {
  const meant = profile === undefined ? running : running.filter((client) => isNamed(client, profile));
  const [first] = meant;
  if (meant.length < 2) return first;
  const isPreferred = (client: RunningClient) =>
    (preferred.profile !== undefined && isNamed(client, preferred.profile)) ||
    (preferred.address !== undefined && formatHostPort(client.address) === formatHostPort(preferred.address));
  const [only, ...others] = meant.filter(isPreferred);
  if (only !== undefined && others.length === 0) return only;
  const names = new Set(meant.map((client) => client.profile?.toLowerCase()));
  const how = names.size === meant.length ? '--as NAME or --listen HOST:PORT' : '--listen HOST:PORT';
  throw new WstunError('bad-option', `several clients run: ${meant.map(described).join(', ')}`, {
    fix: `Choose one: ${how}.`,
  });
}

/** Of a listener: where it listens on all addresses, it does on this one. */
export function localAddress({ host, port }: HostPort): HostPort {
  if (!isAnyAddress(host)) return { host, port };
  return { host: host === '::' ? '::1' : '127.0.0.1', port };
}

/** As names of files, which some systems compare so. */
function isNamed(client: RunningClient, name: string): boolean {
  return client.profile?.toLowerCase() === name.toLowerCase();
}

function described({ address, profile }: RunningClient): string {
  return profile === undefined ? formatHostPort(address) : `${formatHostPort(address)} (${profile})`;
}

/** Undefined: of another version, which has it in another form. */
function addressIn(listen: string): HostPort | undefined {
  try {
    return localAddress(parseHostPort(listen));
  } catch (error) {
    if (!(error instanceof WstunError)) throw error;
    return undefined;
  }
}
