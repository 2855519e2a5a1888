/** The part of a client that is a name server for programs: `dnsListen`. */
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { refuseOpenToNetwork } from '../proxy/listen-check.ts';
import type { ClientService, ServiceParts } from './client-services.ts';
import type { ServicesStatus } from './status.ts';

export interface NameServerOptions {
  /** A name server for programs, over UDP and TCP, that asks the exit's. Port 0: any free one. Default: none. */
  readonly dnsListen?: HostPort;
  readonly allowLan?: boolean;
  readonly events?: NameServerEvents;
}

export interface NameServerEvents {
  /** The name server of `dnsListen` listens there. */
  onDnsListening?(listen: HostPort): void;
}

/** @throws WstunError open-to-network */
export async function makeNameServer(
  { dnsListen: listen, allowLan = false, events }: NameServerOptions,
  { tunnel: opener, logger }: ServiceParts,
): Promise<readonly ClientService[]> {
  if (listen === undefined) return [];
  refuseOpenNameServer(listen, allowLan);
  const { NameServer } = await import('../name-server/name-server.ts');
  const server = new NameServer({ listen, opener, logger });
  const start = async (): Promise<void> => {
    await server.start();
    events?.onDnsListening?.(server.address);
  };
  const status = (): ServicesStatus => ({ nameServer: formatHostPort(server.address) });
  return [{ start, close: () => server.close(), status }];
}

/** A password of the proxy protects no name server. @throws WstunError open-to-network */
export function refuseOpenNameServer(listen: HostPort | undefined, allowLan: boolean): void {
  if (listen !== undefined)
    refuseOpenToNetwork({ host: listen.host, hasCredentials: false, allowLan }, 'the name server');
}
