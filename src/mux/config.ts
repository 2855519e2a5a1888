/**
 * The multiplexer's limits. Each is listed in docs/limits.md with its memory cost. Checked once, when a session is
 * made.
 */
import type { RateLimit } from '../limits/token-bucket.ts';
import { MAX_CREDIT_BYTES, MAX_PAYLOAD_BYTES, MIN_CREDIT_BYTES } from '../protocol/frames.ts';
import { type CongestionConfig, DEFAULT_CONGESTION_CONFIG } from './congestion/congestion-config.ts';

export interface MuxConfig {
  /** Decides which stream ids are ours (docs/protocol.md §7), and that only an exit is offered streams. */
  readonly role: 'client' | 'exit';
  /**
   * Streams that the peer may hold open here at once, 1 to 65,536, and the most that we open there, whatever it would
   * allow. One counts until `release`, that is until its socket and its dial are really gone, not only until it is
   * reset: otherwise resets would buy unlimited dials (CVE-2023-44487).
   */
  readonly maxStreams: number;
  /**
   * Sum of what all streams' peers may send us unasked, bytes: the session's receive memory, beside `minWindowBytes` a
   * stream.
   */
  readonly sessionWindowBytes: number;
  /** A stream's credit when it opens, bytes; less when the session's budget is short. */
  readonly initialWindowBytes: number;
  /**
   * What every stream gets however short the budget is, bytes, at least 1,024: credit is granted in quarters of it or
   * more, and under 256 bytes it would be a no-op frame. Less than the default would not even hold one small answer.
   */
  readonly minWindowBytes: number;
  /**
   * A stream's credit grows to this while it is used up within two round trips, bytes. One stream's rate ≤ this / round
   * trip.
   */
  readonly maxWindowBytes: number;
  /**
   * What all streams together may queue for sending, bytes; each gets an equal share within the next two. It bridges
   * the gap to the next read of a local socket, not the path: more only lives so long that the collector moves it to
   * the old generation.
   */
  readonly sendBudgetBytes: number;
  readonly minSendQueueBytes: number;
  readonly maxSendQueueBytes: number;
  /**
   * Largest DATA payload, bytes, 1 to 65,511: how long one stream may hold the link. As large as loopback and receivers
   * carry cheaply (tunnel/session/session-driver.ts).
   */
  readonly maxDataBytes: number;
  /** A ping every so often, ms: keeps 60 s idle limits of proxies and NATs open, and measures the round trip. */
  readonly pingIntervalMs: number;
  /**
   * Nothing more has come, ms, since bytes of a stream came or went: a ping asks whether the link still stands. Only at
   * a client's end, which can look for another. Four round trips, where they are longer.
   */
  readonly probeMs: number;
  /** Such a ping without a word from the peer, ms, or four round trips: a stalled link. */
  readonly probeAnswerMs: number;
  /**
   * Without a byte from the peer for this long, ms, the link is dead. Three pings: one may be lost in a stall, not
   * three.
   */
  readonly silenceLimitMs: number;
  /** How long the RESET of a socket waits behind data that the peer does not take, ms, before it goes without them. */
  readonly resetWaitMs: number;
  /**
   * Control frames waiting for a peer that does not read. More is `peer-flood`. About 100 bytes each. At least three a
   * stream: all may be answered, reset and followed by refusals while the link stalls.
   */
  readonly maxControlFrames: number;
  /** Streams that the peer may open: tokens a second, and how many may come at once. */
  readonly openRate: RateLimit;
  /**
   * Opens that the peer resets before an answer, or that we must refuse. Beyond, opens are answered `dial-busy`, until
   * so few are reset again.
   */
  readonly rapidResetRate: RateLimit;
  /** The same, beyond `rapidResetRate`. More is `peer-flood`: no program that aborts its connections comes near. */
  readonly refusalRate: RateLimit;
  /**
   * Opens that we reset before an answer. Beyond, new ones wait. Below the `rapidResetRate` of any peer, by as much as
   * a link that stalls for 10 s may deliver at once.
   */
  readonly ownRapidResetRate: RateLimit;
  readonly pingRate: RateLimit;
  /** Frames that do nothing. */
  readonly noOpRate: RateLimit;
}

/** How a session outlives its links. */
export interface ResumeConfig {
  /** A session without a link is kept for so long, ms; 0: it ends with its link. */
  readonly resumeWindowMs: number;
  /**
   * What is kept until the peer has it, bytes, and so the most that is on its way: one stream's rate ≤ this / round
   * trip.
   */
  readonly retransmitBytes: number;
  /** What a session may keep however much the process's others do, bytes. */
  readonly minRetransmitBytes: number;
  /** An acknowledgement follows the last one after so long, ms, or after `ackBytes`. */
  readonly ackIntervalMs: number;
  /** One that the peer can do without waits so long, ms, for something to go along with. */
  readonly ackWaitMs: number;
  readonly ackBytes: number;
  /**
   * Bytes on their way and no word of them for this long, ms, or for so many round trips if that is longer: a stalled
   * link.
   */
  readonly stallMs: number;
  readonly stallRoundTrips: number;
  /** How much is on its way at once. */
  readonly congestion: CongestionConfig;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULT_MUX_CONFIG: Omit<MuxConfig, 'role'> = {
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

export const DEFAULT_RESUME_CONFIG: ResumeConfig = {
  resumeWindowMs: 120_000,
  retransmitBytes: 8 * MIB,
  minRetransmitBytes: 256 * KIB,
  ackIntervalMs: 1,
  ackWaitMs: 10,
  ackBytes: 512 * KIB,
  stallMs: 3_000,
  stallRoundTrips: 4,
  congestion: DEFAULT_CONGESTION_CONFIG,
};

/** All sessions of a process together, but for `minRetransmitBytes` each. */
export const PROCESS_RETRANSMIT_BYTES = 256 * MIB;

type NumberField = { [K in keyof MuxConfig]: MuxConfig[K] extends number ? K : never }[keyof MuxConfig];

/** In each row, every value is at most the next one. A number is a bound that no field sets. */
const ORDERS: readonly (readonly (NumberField | number)[])[] = [
  [1, 'maxStreams', 65_536],
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
