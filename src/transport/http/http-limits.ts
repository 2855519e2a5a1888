/** Every limit and time of the HTTP link (docs/limits.md). Pure. */

const KIB = 1024;

/** Of one message: as of a WebSocket, so that a session can change from one carrier to the other. */
export const MAX_MESSAGE_BYTES = 65_535;
/** From here on `send` returns false; `handleDrain` follows at half of it. Requests are larger than writes. */
export const HIGH_MARK_BYTES = 192 * KIB;
export const LOW_MARK_BYTES = HIGH_MARK_BYTES / 2;

/** Content of one *up* request, and of one answer to *poll*. Common limits of front ends begin at 1 MB. */
export const MAX_BODY_BYTES = 524_288;
/** Sent and not acknowledged, in each direction; and how far ahead an *up* body may begin. */
export const WINDOW_BYTES = 1_024 * KIB;
/** Of a relay's down streams while its links hold little: each pause for acknowledgements costs speed on fast paths. */
export const WIDE_WINDOW_BYTES = 2 * WINDOW_BYTES;
/** The least of it where a relay is short of memory. */
export const MIN_WINDOW_BYTES = 64 * KIB;
/** Pieces that came ahead of others. 256 are some KB, however small they are. */
export const MAX_HELD_PIECES = 256;
/** Received in order, while the owner of the link has paused it: then the bodies are not read any more. */
export const MAX_READY_BYTES = 64 * KIB;
/** What a piece counts of that, however short it is: about its object. */
export const LEAST_KEPT_BYTES = 256;

/** *up* requests of a client under way, and as many as a relay serves: some were cut, and it does not know yet. */
export const MAX_UPS = 4;
/** Where a client may have many connections: as many if the further ones are small, such as acknowledgements. */
export const MAX_SMALL_UPS = 6;
export const SMALL_BODY_BYTES = 16 * KIB;
export const MAX_SERVED_UPS = 16;

/** While others are under way, a further one begins with so many bytes, or after a pause: each costs 0.3 ms. */
export const NEXT_BODY_BYTES = 64 * KIB;
export const NEXT_BODY_MS = 1;
/**
 * Small bodies are spread over the time that one takes, so that acknowledgements do not come in bursts, but are never
 * further apart than this, ms.
 */
export const MAX_SPREAD_MS = 50;
/** The client's first body; it doubles while one takes less than half a second, and shrinks above one. */
export const FIRST_BODY_BYTES = 16 * KIB;
export const MIN_BODY_BYTES = 4 * KIB;
export const BODY_FAST_MS = 500;
export const BODY_SLOW_MS = 1_000;
/** Without an answer, an *up* request is taken for lost: the connection may be gone. */
export const UP_TIMEOUT_MS = 20_000;
/** So long, or 4 times what such requests take, an *up* request may make no progress; doubled when it is repeated. */
export const DOUBT_MS = 1_500;
export const DOUBT_FACTOR = 4;

/**
 * The client acknowledges what it has received: so many bytes at once, fewer after a pause. What a fast path brings
 * within ACK_PAUSE_MS shares one request.
 */
export const ACK_AT_ONCE_BYTES = 512 * KIB;
export const ACK_BYTES = 256 * KIB;
export const ACK_PAUSE_MS = 10;
export const ACK_SOON_BYTES = 16 * KIB;
export const ACK_SOON_MS = 50;
export const ACK_LATE_MS = 2_000;

/** Before anything on the way ends an answer for its age: some do after 60 s. */
export const ROTATE_MS = 45_000;
/** Without a byte of an answer although the relay has sent some: something holds it back until it is complete. */
export const HELD_BACK_MS = 2_500;
/** The same for the first answer of a link, where answers were held back before. */
export const HELD_BACK_AGAIN_MS = 300;
/** After an *up* answer said that the relay has sent more, that has so long to arrive, ms. */
export const OWED_MS = 1_000;
/** A link that polls tries *down* again after this time, twice as long after each failure. */
export const FIRST_TRIAL_MS = 60_000;
export const MAX_TRIAL_MS = 3_600_000;
/** Where no *down* was held back, only the one that opened the link. */
export const EARLY_TRIAL_MS = 10_000;
/** The trial has failed without a byte after 3 times what an *up* request takes, within these limits. */
export const TRIAL_LIMIT_MS = { least: 300, most: 2_500 };
/** A relay holds an empty *poll* so long at the most; a client asks for so long. */
export const MAX_POLL_MS = 30_000;
export const POLL_MS = 10_000;
/** An answer to *down* is never silent for longer; the client's limit leaves room for two. */
export const PAD_MS = 10_000;
export const SILENCE_MS = 22_000;
/** A relay ends a link that no request uses. */
export const UNUSED_MS = 30_000;
/** Of the body of an *up* request, without a byte. */
export const BODY_IDLE_MS = 10_000;
/** A relay answers an *up* request that came ahead of others at the latest after this. */
export const AHEAD_MS = 2_000;
/** For the last answers of a link that has ended, and for the bodies that its client was sending. */
export const LAST_ANSWER_MS = 10_000;
/** From the call of `close` to the forced end: as of a WebSocket. */
export const CLOSE_TIMEOUT_MS = 5_000;

/** The pauses between attempts where requests fail. */
export const RETRY_MS: readonly number[] = [0, 50, 100, 200, 400, 800, 1_600];
/** Answers in a row that are not the relay's: the link is not known there any more. */
export const MAX_FOREIGN_ANSWERS = 4;

/** Small bodies get one of these sizes, so that their own does not show. */
export const SIZE_BUCKETS: readonly number[] = [128, 256, 512, 1_024, 2_048, 4_096, 8_192];
/** The first block of an answer to *down*: makes proxies that fill a buffer first pass it on. */
export const FIRST_PADDING_BYTES = { least: 2 * KIB, most: 6 * KIB };
