/** The multiplexer's limits, each in docs/limits.md with its memory cost. Checked once, when a session is made. */
import type { RateLimit } from '../limits/token-bucket.ts';
import { MAX_CREDIT_BYTES, MAX_PAYLOAD_BYTES, MIN_CREDIT_BYTES } from '../protocol/frames.ts';

/** How soon a quiet link is taken for one that stalls, ms; each at least four round trips. */
export interface StallTimes {
  /** A client probes a link that is quiet for so long after bytes of a stream have passed. */
  readonly probeMs: number;
  /** If nothing answers such a probe for so long, the link stalls. */
  readonly probeAnswerMs: number;
  /** The same if bytes in flight are not acknowledged for so long. */
  readonly stallMs: number;
}

export interface MuxConfig {
  /** Decides which stream ids are ours (docs/protocol.md §7), and that only an exit is offered streams. */
  readonly role: 'client' | 'exit';
  /** Links of a session at once, 1 to 8; 1: the peer is not offered several (docs/protocol.md §10.2). */
  readonly maxLinks: number;
  /**
   * Streams that the peer may have open here at once, 1 to 65,536, and the most that we open there, even if it allows
   * more. One counts until `release`, that is until its socket and its dial are gone, not only until it is reset:
   * otherwise a peer could have unlimited dials by resets (CVE-2023-44487).
   */
  readonly maxStreams: number;
  /** Sum of all streams' credit, bytes: the session's receive memory, beside `minWindowBytes` a stream. */
  readonly sessionWindowBytes: number;
  /** A stream's credit when it opens, bytes; less when the session's budget is short. */
  readonly initialWindowBytes: number;
  /**
   * What every stream gets even without budget, bytes, at least 1,024: credit is granted in quarters of it, and less
   * than 256 bytes would be a no-op frame. The default is the least that holds one small answer.
   */
  readonly minWindowBytes: number;
  /** A stream's credit grows up to this while it is used within two round trips, bytes. Its rate ≤ this / RTT. */
  readonly maxWindowBytes: number;
  /**
   * What all streams together may queue for sending, bytes; each gets an equal share within the next two. It covers
   * the time to the next read of a local socket, not the path: more would only live until the collector moves it to the
   * old generation.
   */
  readonly sendBudgetBytes: number;
  readonly minSendQueueBytes: number;
  readonly maxSendQueueBytes: number;
  /** Largest DATA payload, bytes, 1 to 65,511: so long one stream holds the link. As large as is cheap to receive. */
  readonly maxDataBytes: number;
  /** A ping every so often, ms: keeps 60 s idle limits of proxies and NATs open, and measures the round trip. */
  readonly pingIntervalMs: number;
  /** A client probes a link that is quiet for so long, ms, or four round trips, after bytes of a stream have passed. */
  readonly probeMs: number;
  /** If nothing answers such a ping for so long, ms, or four round trips, the link stalls. */
  readonly probeAnswerMs: number;
  /** Without a byte from the peer for so long, ms, the link is dead. Three pings: a stall may lose one. */
  readonly silenceLimitMs: number;
  /** The RESET of a socket waits so long, ms, for data that the peer does not take; then it goes without them. */
  readonly resetWaitMs: number;
  /**
   * Control frames that wait for a peer that does not read, about 100 bytes each. More is `peer-flood`. At least three
   * a stream: while the link stalls, each may be answered, reset, and followed by a refusal.
   */
  readonly maxControlFrames: number;
  /** Streams that the peer may open: tokens a second, and a burst. */
  readonly openRate: RateLimit;
  /** Opens that the peer resets unanswered, or that we refuse. Beyond: `dial-busy`, until so few are reset again. */
  readonly rapidResetRate: RateLimit;
  /** The same, beyond `rapidResetRate`. More is `peer-flood`: no program that aborts its connections comes near. */
  readonly refusalRate: RateLimit;
  /** Opens that we reset unanswered. Beyond, new ones wait. Below `rapidResetRate` by what a 10 s stall may deliver. */
  readonly ownRapidResetRate: RateLimit;
  readonly pingRate: RateLimit;
  /** Frames without an effect. */
  readonly noOpRate: RateLimit;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULT_MUX_CONFIG: Omit<MuxConfig, 'role'> = {
  maxLinks: 8,
  maxStreams: 1024,
  sessionWindowBytes: 32 * MIB,
  initialWindowBytes: 256 * KIB,
  minWindowBytes: 16 * KIB,
  maxWindowBytes: 4 * MIB,
  sendBudgetBytes: MIB,
  minSendQueueBytes: 32 * KIB,
  maxSendQueueBytes: 256 * KIB,
  maxDataBytes: 48 * KIB,
  pingIntervalMs: 15_000,
  probeMs: 1_000,
  probeAnswerMs: 2_000,
  silenceLimitMs: 45_000,
  resetWaitMs: 30_000,
  maxControlFrames: 4096,
  openRate: { perSecond: 4000, burst: 8000 },
  rapidResetRate: { perSecond: 400, burst: 4096 },
  refusalRate: { perSecond: 4000, burst: 40_000 },
  ownRapidResetRate: { perSecond: 200, burst: 2048 },
  pingRate: { perSecond: 20, burst: 200 },
  noOpRate: { perSecond: 100, burst: 1000 },
};

type NumberField = { [K in keyof MuxConfig]: MuxConfig[K] extends number ? K : never }[keyof MuxConfig];

/** In each row, every value is at most the next one. A number is a bound that no field sets. */
const ORDERS: readonly (readonly (NumberField | number)[])[] = [
  [1, 'maxStreams', 65_536],
  [1, 'maxLinks', 8],
  [4 * MIN_CREDIT_BYTES, 'minWindowBytes', 'initialWindowBytes', 'maxWindowBytes', MAX_CREDIT_BYTES],
  ['minSendQueueBytes', 'maxSendQueueBytes'],
  [1, 'maxDataBytes', MAX_PAYLOAD_BYTES],
];

/** Throws a RangeError that names the two fields that contradict each other: a programming fault, not one of a user. */
export function checkMuxConfig(config: MuxConfig): MuxConfig {
  const numberOf = (bound: NumberField | number) => (typeof bound === 'number' ? bound : config[bound]);
  const shown = (bound: NumberField | number) =>
    typeof bound === 'number' ? String(bound) : `${bound} (${config[bound]})`;
  for (const order of ORDERS)
    order.reduce((lower, upper) => {
      if (numberOf(lower) <= numberOf(upper)) return upper;
      throw new RangeError(`multiplexer limits: ${shown(lower)} must be at most ${shown(upper)}`);
    });
  if (config.maxControlFrames >= 3 * config.maxStreams) return config;
  throw new RangeError(
    `multiplexer limits: ${shown('maxControlFrames')} must be at least 3 times ${shown('maxStreams')}`,
  );
}
