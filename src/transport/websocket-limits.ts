/**
 * Every limit of a WebSocket link, for both ends. The defaults of `ws` are made for trusted peers (100 MiB messages,
 * 16,384 fragments, deflate offered by its client), so none of them is left in force.
 */

/**
 * Record numbers, frames and seals all fit one 16-bit length; a message never occupies more than this of a receiver.
 */
export const MAX_MESSAGE_BYTES = 65_535;

/**
 * `send` says stop here. Two messages of the largest size: enough to keep the kernel fed from one 'drain' to the next
 * (64 KiB to 1 MiB measured alike), and little enough that the scheduler above still decides what goes next.
 */
export const HIGH_MARK_BYTES = 128 * 1024;

/** From the call of `close` to the forced end, ms. */
export const CLOSE_TIMEOUT_MS = 5_000;

/** From the call of the dial to an open link (name, TCP, TLS, upgrade together), ms. */
export const DIAL_TIMEOUT_MS = 10_000;

/**
 * Of these, until TCP stands, ms. The kernel asks at 0, 1 and 3 s; giving up here and dialling anew asks again sooner
 * than its next try at 7 s: after a hole in the network, a link stands within 5 s.
 */
export const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Pings that come while the queue is at its mark, of which only the latest is answered (RFC 6455 §5.5.3): beyond, the
 * peer floods and does not read.
 */
export const MAX_SKIPPED_PINGS = 1_024;

export const SOCKET_LIMITS = {
  maxPayload: MAX_MESSAGE_BYTES,
  /**
   * wstun sends one fragment a message, but what lies between may frame anew: in pieces of 125 bytes, the most that one
   * byte of length holds, the largest message has 525. Each of these holds about 250 bytes beside its payload, and
   * nothing else of its read.
   */
  maxFragments: 1_024,
  /** Socket reads held for one unfinished frame: 16 bytes each at the worst, about 1 MiB of small buffers. */
  maxBufferedChunks: 4_096,
  /**
   * `ws` would count answers that have had no time to leave, and end the link at its bound: websocket-link.ts answers.
   */
  autoPong: false,
  closeTimeout: CLOSE_TIMEOUT_MS,
  perMessageDeflate: false,
} as const;
