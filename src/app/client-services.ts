/**
 * What a client offers beside its proxy: forwards, ports at the exit, a name server, transparent proxies. Each is made
 * of the client's options here, and started and closed with it.
 */
import type { Logger } from '../observability/logger.ts';
import type { DialledPlaces } from '../transport/connection/dialled-places.ts';
import type { SessionServices } from '../tunnel/stream/services.ts';
import type { StreamOpener } from '../tunnel/stream/stream.ts';
import { type ForwardEvents, type ForwardOptions, makeForwards } from './forwarding.ts';
import { makeNameServer, type NameServerEvents, type NameServerOptions } from './name-serving.ts';
import { makeRemoteForwards, type RemoteForwardEvents, type RemoteForwardOptions } from './remote-forwarding.ts';
import type { ServicesStatus } from './status.ts';
import { type TransparentEvents, type TransparentOptions, transparentServices } from './transparent-services.ts';

/** All that a session can do for a client. */
interface Tunnel extends StreamOpener, SessionServices {}

export interface ClientService {
  /** Resolves when its ports are open, and rejects with a WstunError. What fails leaves nothing open. */
  start(): Promise<void>;
  /**
   * Accepts nothing new, gives what is open `graceMs`, then ends it. May be called again, and without a start. Never
   * rejects.
   */
  close(graceMs: number): Promise<void>;
  /** What the status of the client has of it. Default: nothing. */
  status?(): ServicesStatus;
}

export interface ServiceParts {
  readonly tunnel: Tunnel;
  readonly logger: Logger;
  /** Where the client has connected to reach its relay. */
  readonly dialled: DialledPlaces;
}

/** The options of which services are made; ClientOptions has them all. */
export interface ServiceOptions extends ForwardOptions, RemoteForwardOptions, NameServerOptions, TransparentOptions {
  readonly events?: ServiceEvents;
}

/** What services tell. */
export interface ServiceEvents extends ForwardEvents, RemoteForwardEvents, NameServerEvents, TransparentEvents {}

/**
 * Of one kind, the services that the options ask for. Imports their code only if there are any.
 * @throws WstunError of an option that is wrong
 */
type ServiceMaker = (options: ServiceOptions, parts: ServiceParts) => Promise<readonly ClientService[]>;

/** In the order in which they start. */
const MAKERS: readonly ServiceMaker[] = [makeForwards, makeNameServer, makeRemoteForwards, transparentServices];

/** Opens nothing. @throws WstunError of an option that is wrong */
export async function makeServices(options: ServiceOptions, parts: ServiceParts): Promise<Required<ClientService>> {
  const services: ClientService[] = [];
  for (const make of MAKERS) services.push(...(await make(options, parts)));
  return new Services(services);
}

class Services implements ClientService {
  constructor(private readonly services: readonly ClientService[]) {}

  async start(): Promise<void> {
    for (const service of this.services) await service.start();
  }

  async close(graceMs: number): Promise<void> {
    await Promise.all(this.services.map((service) => service.close(graceMs)));
  }

  status(): ServicesStatus {
    const all = this.services.map((service) => service.status?.() ?? {});
    const forwards = all.flatMap((status) => status.forwards ?? []);
    const remoteForwards = all.flatMap((status) => status.remoteForwards ?? []);
    const nameServer = all.find((status) => status.nameServer !== undefined)?.nameServer;
    return {
      ...(forwards.length > 0 && { forwards }),
      ...(remoteForwards.length > 0 && { remoteForwards }),
      ...(nameServer !== undefined && { nameServer }),
    };
  }
}
