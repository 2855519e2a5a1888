/** The part of a client that has ports at the exit: `remoteForwards`. */
import { WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { describeTarget } from '../observability/logger.ts';
import type { KeeperNotice } from '../remote/listener-keeper.ts';
import type { RemoteForward } from '../remote/remote-forward.ts';
import type { ClientService, ServiceParts } from './client-services.ts';
import { faultOf } from './client-status.ts';
import type { RemoteForwardStatus } from './status.ts';

export interface RemoteForwardOptions {
  /**
   * Ports at the exit that lead to this machine: `[BIND:]PORT:HOST:PORT`, with `/udp` or `/proxy-v2` behind it, or
   * `[[BIND:]PORT:]socks`. At most 32; the exit's owner allows each. Default: none.
   */
  readonly remoteForwards?: readonly string[];
  readonly events?: RemoteForwardEvents;
}

export interface RemoteForwardEvents {
  /** A port at the exit is open, refused or lost. wstun asks for it again as long as the client runs. */
  onRemoteForward?(notice: RemoteForwardNotice): void;
}

export type RemoteForwardNotice =
  /** `bound`: where it listens. `again`: it was refused or lost before. */
  | {
      readonly state: 'listening';
      readonly forward: string;
      readonly bound: HostPort;
      readonly to: HostPort | 'socks';
      readonly again: boolean;
    }
  | { readonly state: 'refused' | 'lost'; readonly forward: string; readonly error: WstunError };

/** @throws WstunError bad-option */
export async function makeRemoteForwards(
  { remoteForwards: texts = [], events }: RemoteForwardOptions,
  { tunnel: opener, logger }: ServiceParts,
): Promise<readonly ClientService[]> {
  if (texts.length === 0) return [];
  const [{ RemoteForwards, MAX_REMOTE_FORWARDS }, { formatRemoteForward, parseRemoteForward }] = await Promise.all([
    import('../remote/remote-forwards.ts'),
    import('../remote/remote-forward.ts'),
  ]);
  const forwards = texts.map(parseRemoteForward);
  if (forwards.length > MAX_REMOTE_FORWARDS)
    throw new WstunError('bad-option', `--remote-forward may be given ${MAX_REMOTE_FORWARDS} times at most`);
  const states = forwards.map((forward) => stateOf(forward, formatRemoteForward(forward)));
  const onNotice = (forward: RemoteForward, keeperNotice: KeeperNotice): void => {
    const at = forwards.indexOf(forward);
    const notice = noticeOf(states[at]?.forward ?? '', forward, keeperNotice);
    states[at] = stateOf(forward, notice.forward, notice);
    events?.onRemoteForward?.(notice);
  };
  const all = new RemoteForwards({ forwards, opener, logger, onNotice });
  return [
    {
      start: () => Promise.resolve(all.start()),
      close: (graceMs) => all.close(graceMs),
      status: () => ({ remoteForwards: [...states] }),
    },
  ];
}

function stateOf({ protocol, to }: RemoteForward, forward: string, notice?: RemoteForwardNotice): RemoteForwardStatus {
  const described = { forward, protocol, to: to === 'socks' ? to : formatHostPort(to) };
  if (notice === undefined) return { ...described, state: 'opening' };
  return notice.state === 'listening'
    ? { ...described, state: notice.state, bound: formatHostPort(notice.bound) }
    : { ...described, state: notice.state, fault: faultOf(notice.error) };
}

function noticeOf(forward: string, { to }: RemoteForward, notice: KeeperNotice): RemoteForwardNotice {
  if (notice.state !== 'listening') return { state: notice.state, forward, error: notice.error };
  const { bound, isAgain: again } = notice;
  return { state: 'listening', forward, bound: { host: describeTarget(bound).host, port: bound.port }, to, again };
}
