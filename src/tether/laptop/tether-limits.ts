/** Every wait and bound of the laptop's side of a tether; docs/limits.md has the reasons at length. */
import type { LockOutLimits } from '../../limits/lock-out.ts';

/** Of the link's bytes, on the way to the far leg, at most: half of what a page may hold at all. */
export const MAX_ON_THE_WAY_BYTES = 4 * 1024 * 1024;
/** And at least: two records, and the read that brought a third. */
export const MIN_ON_THE_WAY_BYTES = 128 * 1024;
/** Before anything is known of the far leg's speed. */
export const FIRST_ON_THE_WAY_BYTES = 512 * 1024;
/**
 * Between the two, what left within this much: more than a round trip to the phone, and no more than a person waits
 * gladly.
 */
export const ON_THE_WAY_MS = 250;
/** The shortest time over which that speed is measured: timers of pages are coarse. */
export const SPEED_SAMPLE_MS = 50;
/** From the upgrade to the proof, ms: two round trips on a local network. */
export const PAIRING_LIMIT_MS = 10_000;
/** Pairings under way at once. */
export const MAX_PAIRINGS = 16;
/** And of one address: a phone has one, and another while it does not yet know that the first is lost. */
export const MAX_PAIRINGS_PER_ADDRESS = 3;
/** Connections of browsers, in all: a page has one control link and a few near legs. */
export const MAX_CONNECTIONS = 256;
export const PING_MS = 500;
/** Three pings: another page, if there is one, takes over. */
export const DOUBT_MS = 1_500;
/** A phone that changes its access point is silent for seconds. */
export const GONE_MS = 10_000;
/** From `open` to the near leg, ms. */
export const OPEN_LIMIT_MS = 10_000;
/** The next page is asked beside one that takes longer: within the 2 s in which it has to take over. */
export const STAGGER_MS = 1_000;
/** A control link holds pings and a few requests; a page that leaves more unread does not read. */
export const MAX_CONTROL_QUEUE_BYTES = 64 * 1024;
/** A page that is reloaded is back sooner. */
export const NEW_CODE_AFTER_MS = 15_000;
/** Between attempts while a phone has no way to the relay, times 0.5 to 1.5: mobile data may be back at any moment. */
export const OFFLINE_AGAIN_MS = 1_000;
/**
 * An address that is new here is served at after this much: interfaces that come up together settle. Doubles with each
 * move of late.
 */
export const ADDRESS_SETTLE_MS = 1_000;
/** At most, as a network that comes and goes must not fill the screen with codes. */
export const MAX_ADDRESS_SETTLE_MS = 60_000;
/** How long a move counts as one of late. */
export const ADDRESS_MOVES_MS = 5 * 60_000;
/** The served address may be back within this much, as when the laptop changes its access point. */
export const ADDRESS_GONE_MS = 10_000;

/** Wrong secrets of one address. 128 bits cannot be guessed: this limits what attempts cost the laptop. */
export const PAIRING_ATTEMPTS: LockOutLimits = {
  /** A page of a client that ended pairs once in vain; a person may scan an old code twice. */
  freeFailures: 3,
  firstMs: 1_000,
  mostMs: 60_000,
  forgetMs: 10 * 60_000,
  /** A network at home has fewer; an attacker who invents addresses pushes out only these. */
  maxSources: 256,
};
