/** What a relay and an exit say of who is on: read from their sessions and splices when it is asked for. */
import { type Clock, systemClock, wallTimeAt } from '../clock.ts';
import { addressIn } from '../net/host-port.ts';
import type { ForwardedPeer } from '../relay/forwarded-peers.ts';
import type { RelayPlace } from '../tunnel/session/exit-registrations.ts';
import type { ServedSession } from '../tunnel/session/exit-sessions.ts';
import { faultOf, placeOf } from './client-status.ts';
import type { PeerStatus, RelayStatus, ServingStatus } from './status.ts';
import { TrafficMeter } from './traffic-meter.ts';
import { packageVersion } from './version.ts';

/** More are only counted. */
const MAX_PEERS = 1_000;

/** What the object that is asked serves; times are by the clock, ms. */
export interface Served {
  readonly sessions: { readonly count: number; readonly all: Iterable<ServedSession> } | undefined;
  /** Only at a relay. */
  readonly forwarded?: { readonly size: number; readonly all: Iterable<ForwardedPeer> };
  readonly exits: readonly { readonly name: string; readonly since: number }[];
}

export type ServingFacts = Omit<ServingStatus, 'role' | 'listen' | 'relay' | 'relays' | 'refusals'>;

/** Where an exit is registered. @param places of its invite, best first; times by the system's clock, ms */
export function registrationStatus(places: readonly RelayPlace[]): Pick<ServingStatus, 'relay' | 'relays'> {
  const relays = places.map(relayStatus);
  const best =
    relays.find(({ registeredAt }) => registeredAt !== undefined) ??
    relays.find(({ sameAs }) => sameAs === undefined) ??
    relays[0];
  return { ...(best && { relay: best }), ...(relays.length > 1 && { relays }) };
}

function relayStatus({ relay, registeredAt, error, sameAs }: RelayPlace): RelayStatus {
  return {
    address: placeOf(relay),
    ...(registeredAt !== undefined && { registeredAt: wallTimeAt(systemClock, registeredAt) }),
    ...(error && { fault: faultOf(error) }),
    ...(sameAs !== undefined && { sameAs: placeOf(sameAs) }),
  };
}

export class ServingReport {
  private readonly startedAt: number;
  /** Those of sessions and peers that have gone go with them. */
  private readonly meters = new WeakMap<object, TrafficMeter>();

  constructor(private readonly clock: Clock = systemClock) {
    this.startedAt = clock.now();
  }

  read({ sessions, forwarded, exits }: Served): ServingFacts {
    const { clock } = this;
    const bySessions = [...(sessions?.all ?? [])].map((session) => ({ at: session.since, of: session }));
    const byLinks = [...(forwarded?.all ?? [])].map((peer) => ({ at: peer.since, of: peer }));
    const oldest = [...bySessions, ...byLinks].sort((a, b) => a.at - b.at).slice(0, MAX_PEERS);
    return {
      version: packageVersion(),
      pid: process.pid,
      startedAt: wallTimeAt(clock, this.startedAt),
      peers: oldest.map(({ of }) =>
        'driver' in of ? this.sessionPeer(of, forwarded !== undefined) : this.linkPeer(of),
      ),
      peerCount: bySessions.length + byLinks.length,
      exits: exits.map(({ name, since }) => ({ name, since: wallTimeAt(clock, since) })),
    };
  }

  /** @param isAtRelay links come from the clients themselves, and not from a relay */
  private sessionPeer(session: ServedSession, isAtRelay: boolean): PeerStatus {
    const { peer, since, driver } = session;
    return {
      name: peer,
      ...(isAtRelay && { address: addressIn(driver.remote) }),
      since: wallTimeAt(this.clock, since),
      links: driver.linkCount,
      streams: driver.streamCount,
      traffic: this.meterOf(session).measure(driver.transferred, this.clock.now()),
    };
  }

  private linkPeer(forwarded: ForwardedPeer): PeerStatus {
    const { peer: name, exit, address, since, links } = forwarded;
    const traffic = this.meterOf(forwarded).measure(forwarded, this.clock.now());
    return { ...{ name, exit, address, links, traffic }, since: wallTimeAt(this.clock, since) };
  }

  private meterOf(key: object): TrafficMeter {
    const known = this.meters.get(key) ?? new TrafficMeter();
    this.meters.set(key, known);
    return known;
  }
}
