/**
 * Which nonces each bearer has used of late. Pure; milliseconds are passed in.
 *
 * Each bearer has a share of its own, so that no one can push another's nonces out: a bearer whose share is full is refused
 * until its oldest nonce has expired. Forgetting early instead would let an old ticket in again.
 */

/** Nonces held for all bearers together; 70 bytes each (measured), so 4.6 MB when every bearer floods at once. */
const TOTAL_NONCES = 65_536;
/** A client that redials with backoff opens about 20 tickets in one retention; 1,024 also serves an invite shared by many. */
const MAX_NONCES_PER_BEARER = 1_024;
/** Never less, however long the access list: at its 10,000 entries the total can grow to 320,000 nonces, 22 MB. */
const MIN_NONCES_PER_BEARER = 32;

export class ReplayMemory {
  readonly #retention: number;
  /** Bearer to nonce to expiry. A bearer's nonces stand in order of expiry, because the retention is the same for all. */
  readonly #seen = new Map<string, Map<string, number>>();
  #share = MAX_NONCES_PER_BEARER;

  /** @param retention milliseconds for which a nonce is remembered */
  constructor(retention: number) {
    this.#retention = retention;
  }

  get size(): number {
    let size = 0;
    for (const nonces of this.#seen.values()) size += nonces.size;
    return size;
  }

  /** How many bearers share the memory from now on. Nonces beyond a share that became smaller stay until they expire. */
  setBearerCount(count: number): void {
    const fair = Math.floor(TOTAL_NONCES / Math.max(1, count));
    this.#share = Math.min(MAX_NONCES_PER_BEARER, Math.max(MIN_NONCES_PER_BEARER, fair));
  }

  /** Remembers the nonce if it is `fresh`. `full`: this bearer has used its share, the nonce is not remembered. */
  remember(bearer: string, nonce: string, now: number): 'fresh' | 'seen' | 'full' {
    const nonces = this.#seen.get(bearer) ?? new Map<string, number>();
    forgetExpired(nonces, now);
    if (nonces.has(nonce)) return 'seen';
    if (nonces.size >= this.#share) return 'full';
    nonces.set(nonce, now + this.#retention);
    this.#seen.set(bearer, nonces);
    return 'fresh';
  }

  /** Frees what bearers left behind that no longer come; to be called once in a while. */
  sweep(now: number): void {
    for (const [bearer, nonces] of this.#seen) {
      forgetExpired(nonces, now);
      if (nonces.size === 0) this.#seen.delete(bearer);
    }
  }
}

/** Stops at the first that is still valid: a clock that was set back only makes it remember longer. */
function forgetExpired(nonces: Map<string, number>, now: number): void {
  for (const [nonce, expiry] of nonces) {
    if (expiry > now) return;
    nonces.delete(nonce);
  }
}
