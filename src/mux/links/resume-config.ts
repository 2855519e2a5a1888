/** How a session outlives its links, and the limits of that, each in docs/limits.md. */
import { type CongestionConfig, DEFAULT_CONGESTION_CONFIG } from '../congestion/congestion-config.ts';

export interface ResumeConfig {
  /** A session without a link is kept for so long, ms; 0: it ends with its link. */
  readonly resumeWindowMs: number;
  /** What is kept until the peer has it, bytes, and so the most that is in flight: the link's rate ≤ this / RTT. */
  readonly retransmitBytes: number;
  /** What a session may keep even if the other sessions of the process use up the limit, bytes. */
  readonly minRetransmitBytes: number;
  /** An acknowledgement follows the last one after so long, ms, or `ackBytes`: a turn on loopback is shorter. */
  readonly ackIntervalMs: number;
  /** One that may wait is delayed so long, ms, to be sent along with something else. */
  readonly ackWaitMs: number;
  /** So much unacknowledged is acknowledged at once, bytes: far less than the peer can keep for retransmission. */
  readonly ackBytes: number;
  /** The link stalls if bytes in flight are not acknowledged for so long, ms, or so many round trips if longer. */
  readonly stallMs: number;
  readonly stallRoundTrips: number;
  /** On a link that is one of several, something is sent so often, ms. */
  readonly linkPingMs: number;
  /** What is held of records that came before others, bytes: what the peer may have in flight, and one record. */
  readonly reorderBytes: number;
  /** How much is in flight at once. */
  readonly congestion: CongestionConfig;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULT_RESUME_CONFIG: ResumeConfig = {
  resumeWindowMs: 120_000,
  retransmitBytes: 8 * MIB,
  minRetransmitBytes: 256 * KIB,
  ackIntervalMs: 1,
  ackWaitMs: 10,
  ackBytes: 512 * KIB,
  stallMs: 3_000,
  stallRoundTrips: 4,
  linkPingMs: 15_000,
  reorderBytes: 9 * MIB,
  congestion: DEFAULT_CONGESTION_CONFIG,
};

/** All sessions of a process together, but for `minRetransmitBytes` each. */
export const PROCESS_RETRANSMIT_BYTES = 256 * MIB;
