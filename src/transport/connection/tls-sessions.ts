/** TLS sessions that later links to the same place resume: fewer bytes, and no certificate to check. Pure. */
import { BoundedMap } from '../../limits/bounded-map.ts';

/** Places remembered, as many as `RelayAddresses` remembers. */
const MAX_PLACES = 64;
/** Of one place: a server of TLS 1.3 sends two tickets a connection, and a client may have several links. */
const MAX_SESSIONS = 8;

export interface KeptSession {
  /** As of the event `session` of Node: 1 to 3 KB, a secret. */
  readonly session: Buffer;
  /** Until when it is resumed, ms since 1970. */
  readonly until: number;
  /** False: for one connection, so that an observer cannot connect two of them (RFC 8446 appendix C.4). */
  readonly isReusable: boolean;
}

export class TlsSessions {
  readonly #places = new BoundedMap<string, readonly KeptSession[]>(MAX_PLACES);

  add(place: string, session: KeptSession): void {
    // The latest is enough of those that can be used again.
    const before = session.isReusable ? [] : (this.#places.get(place) ?? []).filter(({ isReusable }) => !isReusable);
    this.#places.set(place, [...before, session].slice(-MAX_SESSIONS));
  }

  /** The latest one. @param now ms since 1970 */
  take(place: string, now: number): KeptSession | undefined {
    const valid = (this.#places.get(place) ?? []).filter(({ until }) => until > now);
    const latest = valid.at(-1);
    if (latest === undefined) this.#places.delete(place);
    else if (!latest.isReusable) this.#places.set(place, valid.slice(0, -1));
    return latest;
  }
}
