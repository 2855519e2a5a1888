/** Every limit of a link. Those of `ws` (100 MiB messages, 16,384 fragments, deflate) are for trusted peers. */

/** Record number, frames and seal fit one 16-bit length. A message never needs more memory of its receiver. */
export const MAX_MESSAGE_BYTES = 65_535;
/**
 * From here on `send` returns false. Two messages of the largest size: enough to keep the kernel busy from one 'drain'
 * to the next (64 KiB to 1 MiB measured alike), and few enough that the scheduler still decides what goes next.
 */
export const HIGH_MARK_BYTES = 128 * 1024;
/** From the call of `close` to the forced end. */
export const CLOSE_TIMEOUT_MS = 5_000;
/** Pings while the queue is at its mark; the latest is answered (RFC 6455 §5.5.3). More is a flood without reading. */
export const MAX_SKIPPED_PINGS = 1_024;
export const SOCKET_LIMITS = {
  maxPayload: MAX_MESSAGE_BYTES,
  /** A middlebox may frame a message again: by 125 bytes, a one-byte length, 525 fragments of 250 bytes overhead. */
  maxFragments: 1_024,
  /** Socket reads held for one unfinished frame: 16 bytes each at the worst, about 1 MiB of small buffers. */
  maxBufferedChunks: 4_096,
  /** `ws` ends a link with too many answers that had no time to leave. So websocket-link.ts answers. */
  autoPong: false,
  closeTimeout: CLOSE_TIMEOUT_MS,
  perMessageDeflate: false,
} as const;
