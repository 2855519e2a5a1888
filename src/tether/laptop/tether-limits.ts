/** Time limits and bounds of the laptop's side of a tether; docs/limits.md has the reasons in full. */
import type { LockOutLimits } from '../../limits/lock-out.ts';

/** Most bytes of a link in flight, between laptop and upstream connection: half of what a page may hold. */
export const MAX_IN_FLIGHT_BYTES = 4 * 1024 * 1024;
/** The lowest limit: two records, and the read with a third. */
export const MIN_IN_FLIGHT_BYTES = 128 * 1024;
/** The limit before the upstream connection's speed is known. */
export const INITIAL_IN_FLIGHT_BYTES = 512 * 1024;
/** Between these bounds the limit is what left within this time: longer than a round trip to the phone, but short. */
export const IN_FLIGHT_MS = 250;
/** The shortest time over which that speed is measured: timers of pages are coarse. */
export const SPEED_SAMPLE_MS = 50;
/** From the upgrade to the proof: two round trips on a local network. */
export const PAIRING_LIMIT_MS = 10_000;
/** Pairings under way at once. */
export const MAX_PAIRINGS = 16;
/** The same for one address: a phone has one, and a second while it does not know yet that the first is lost. */
export const MAX_PAIRINGS_PER_ADDRESS = 3;
/** Connections of browsers, in all: a page has one control link and a few local connections. */
export const MAX_CONNECTIONS = 256;
export const PING_MS = 500;
/** Three pings: after this silence another page, if there is one, takes over. */
export const SILENT_MS = 1_500;
/** A phone that changes its access point is silent for seconds. */
export const GONE_MS = 10_000;
/** From `open` to the local connection. */
export const OPEN_LIMIT_MS = 10_000;
/** The same for requests, where the page opens nothing else before it. */
export const LOCAL_LIMIT_MS = 3_000;
/** HTTP links by one page: a link, and the one that takes its place. */
export const MAX_HTTP_LINKS = 2;
/** A WebSocket that takes longer to open is raced by an HTTP link. */
export const SOCKET_SLOW_MS = 3_000;
/** A WebSocket that carried nothing for so long was stopped by something: a handshake takes a round trip. */
export const SOCKET_SILENT_MS = 2_000;
/** So long only HTTP links are tried where no WebSocket got through. */
export const SOCKET_BLOCKED_MS = 5 * 60_000;
/** The next page is asked, too, if one takes longer: it has to take over within 2 s. */
export const STAGGER_MS = 1_000;
/** A control link carries pings and a few requests. A page that leaves more unread does not read. */
export const MAX_CONTROL_QUEUE_BYTES = 64 * 1024;
/** A reloaded page returns sooner. */
export const NEW_CODE_AFTER_MS = 15_000;
/** Between attempts while no phone reaches the relay, times 0.5 to 1.5: mobile data may return at any moment. */
export const OFFLINE_RETRY_MS = 1_000;
/** Before the move to a new address: interfaces that come up together settle. Doubles with each recent move. */
export const ADDRESS_SETTLE_MS = 1_000;
/** Its upper bound: a network that comes and goes must not fill the screen with codes. */
export const MAX_ADDRESS_SETTLE_MS = 60_000;
/** How long a move counts as recent. */
export const RECENT_MOVE_MS = 5 * 60_000;
/** The served address may return within this time, as when the laptop changes its access point. */
export const ADDRESS_GONE_MS = 10_000;

/** Wrong secrets of one address. 128 bits cannot be guessed: this limits what attempts cost the laptop. */
export const PAIRING_ATTEMPTS: LockOutLimits = {
  /** A page of a client that ended tries once in vain; a person may scan an old code twice. */
  freeFailures: 3,
  firstMs: 1_000,
  mostMs: 60_000,
  forgetMs: 10 * 60_000,
  /** A home network has fewer. An attacker who invents addresses displaces only those. */
  maxSources: 256,
};
