/** What the congestion controller of a link may do. Each value is listed in docs/limits.md. Pure. */
import { FRAME_HEADER_BYTES } from '../../protocol/frames.ts';

export interface CongestionConfig {
  /** In flight before anything is known of the path, bytes. */
  readonly initialBytes: number;
  /**
   * The same on a link that replaces another or joins it: the peer may be about to say how little links carry here,
   * which must reach this end before the link is used up.
   */
  readonly laterInitialBytes: number;
  /** Never more in flight than this, bytes: what the session can retransmit. */
  readonly maxInFlightBytes: number;
  readonly minFrameBytes: number;
  /** Also the largest DATA frame of the multiplexer. */
  readonly maxFrameBytes: number;
  /** What a record of one full frame has beyond its DATA payload, bytes. */
  readonly headerBytes: number;
  /** Serialization delay of a frame, ms, within the two bounds above: for so long one stream can block the next. */
  readonly frameMs: number;
  /** The same where quiet streams have another link, ms; such a frame has no more bytes than this. */
  readonly longFrameMs: number;
  readonly longFrameBytes: number;
  /** Target queue delay, ms, at least; and as a share of the min RTT. It keeps the path busy between two ACKs. */
  readonly queueMs: number;
  readonly queueShare: number;
  /** Between two min-RTT probes, ms, at least; and in min RTTs. */
  readonly probeIntervalMs: number;
  readonly probeIntervalRoundTrips: number;
}

const KIB = 1024;

export const DEFAULT_CONGESTION_CONFIG: CongestionConfig = {
  initialBytes: 16 * KIB,
  laterInitialBytes: 4 * KIB,
  maxInFlightBytes: 8192 * KIB,
  minFrameBytes: 1400,
  maxFrameBytes: 48 * KIB,
  headerBytes: FRAME_HEADER_BYTES,
  frameMs: 4,
  longFrameMs: 12,
  longFrameBytes: 4 * KIB,
  queueMs: 3,
  queueShare: 0.05,
  probeIntervalMs: 4000,
  probeIntervalRoundTrips: 32,
};
