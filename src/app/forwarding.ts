/** The part of a client that forwards ports of this machine to targets of the exit: `forwards`. */
import { WstunError } from '../errors.ts';
import type { Forward, SocketPath } from '../forward/forward.ts';
import type { TcpForward } from '../forward/tcp-forward.ts';
import type { UdpForward } from '../forward/udp-forward.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { describeTarget } from '../observability/logger.ts';
import { refuseOpenToNetwork } from '../proxy/listen-check.ts';
import type { ClientService, ServiceParts } from './client-services.ts';

/** Each is a listener, and a line for a person to look after. */
const MAX_FORWARDS = 64;

export interface ForwardOptions {
  /**
   * Ports and sockets of this machine that lead to targets of the exit: `[BIND:]PORT:HOST:PORT`, with `/udp` behind it
   * for UDP, or `unix:PATH:HOST:PORT`. At most 64. Default: none.
   */
  readonly forwards?: readonly string[];
  readonly allowLan?: boolean;
  readonly events?: ForwardEvents;
}

export interface ForwardEvents {
  /** A port or a socket of `forwards` is open. */
  onForward?(notice: ForwardNotice): void;
}

export interface ForwardNotice {
  /** As it was given. */
  readonly forward: string;
  readonly protocol: 'tcp' | 'udp';
  /** Where it listens. */
  readonly listen: HostPort | SocketPath;
}

/** @throws WstunError bad-option, open-to-network */
export async function makeForwards(
  { forwards: texts = [], allowLan = false, events }: ForwardOptions,
  { tunnel: opener, logger }: ServiceParts,
): Promise<readonly ClientService[]> {
  if (texts.length === 0) return [];
  const forwards = await readForwards(texts, allowLan);
  const [tcp, udp] = await Promise.all([import('../forward/tcp-forward.ts'), import('../forward/udp-forward.ts')]);
  return forwards.map((forward, index) => {
    const service =
      forward.protocol === 'tcp'
        ? new tcp.TcpForward({ forward, opener, logger })
        : new udp.UdpForward({ forward, opener, logger });
    return serviceOf(texts[index] ?? '', forward, service, events);
  });
}

function serviceOf(
  text: string,
  { protocol, to }: Forward,
  service: TcpForward | UdpForward,
  events: ForwardEvents | undefined,
): ClientService {
  const described = { forward: text, protocol };
  return {
    start: async () => {
      await service.start();
      events?.onForward?.({ ...described, listen: service.listen });
    },
    close: (graceMs) => service.close(graceMs),
    status: () => ({
      forwards: [{ ...described, listen: placeText(service.listen), to: formatHostPort(describeTarget(to)) }],
    }),
  };
}

function placeText(listen: HostPort | SocketPath): string {
  return 'path' in listen ? listen.path : formatHostPort(listen);
}

/** A password of the proxy protects no forward. @throws WstunError bad-option, open-to-network */
export async function readForwards(texts: readonly string[], allowLan: boolean): Promise<readonly Forward[]> {
  const { parseForward } = await import('../forward/forward.ts');
  const forwards = texts.map(parseForward);
  if (forwards.length > MAX_FORWARDS)
    throw new WstunError('bad-option', `--local-forward may be given ${MAX_FORWARDS} times at most`);
  for (const { listen } of forwards)
    if ('host' in listen) refuseOpenToNetwork({ host: listen.host, hasCredentials: false, allowLan }, 'the forward');
  return forwards;
}
