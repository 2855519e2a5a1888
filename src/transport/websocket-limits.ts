/**
 * Every limit of a WebSocket link, for both ends. The defaults of `ws` are made for trusted peers (100 MiB messages,
 * 16,384 fragments, deflate offered by its client), so none of them is left in force.
 */

/** Record number, frames and seal fit one 16-bit length. A message never needs more memory of its receiver. */
export const MAX_MESSAGE_BYTES = 65_535;

/**
 * From here on `send` returns false. Two messages of the largest size: enough to keep the kernel busy from one 'drain'
 * to the next (64 KiB to 1 MiB measured alike), and few enough that the scheduler still decides what goes next.
 */
export const HIGH_MARK_BYTES = 128 * 1024;

/** From the call of `close` to the forced end. */
export const CLOSE_TIMEOUT_MS = 5_000;

/** From the call of the dial to an open link: name, TCP, TLS and upgrade together. */
export const DIAL_TIMEOUT_MS = 10_000;

/**
 * The part of it until TCP is connected. The kernel sends SYN at 0, 1 and 3 s. A new dial after 5 s sends sooner than
 * the kernel's next try at 7 s: a link is established within 5 s after the end of an outage.
 */
export const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Pings received while the queue is at its mark; only the latest is answered (RFC 6455 §5.5.3). A peer that sends more
 * floods without reading.
 */
export const MAX_SKIPPED_PINGS = 1_024;

export const SOCKET_LIMITS = {
  maxPayload: MAX_MESSAGE_BYTES,
  /**
   * wstun sends one fragment per message, but a middlebox may frame it again: in pieces of 125 bytes, the most that one
   * byte of length can express, the largest message has 525. Each needs about 250 bytes beside its payload.
   */
  maxFragments: 1_024,
  /** Socket reads held for one unfinished frame: 16 bytes each at the worst, about 1 MiB of small buffers. */
  maxBufferedChunks: 4_096,
  /**
   * `ws` counts answers that have had no time to leave, and ends the link at its bound. So websocket-link.ts answers.
   */
  autoPong: false,
  closeTimeout: CLOSE_TIMEOUT_MS,
  perMessageDeflate: false,
} as const;
