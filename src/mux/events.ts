/** What a session has to tell its owner: `MuxSession.pollEvent`, and what comes of `open`. Pure. */
import type { WireFaultName } from '../errors.ts';
import type { Piece } from '../memory/pieces.ts';
import type { Target } from '../protocol/target.ts';

export type MuxEvent =
  /** The peer's HELLO has come: it speaks our version. */
  | { readonly type: 'established' }
  /** The peer asks for a stream: answer with `accept` or `refuse`, and `release` when nothing of it is left. */
  | { readonly type: 'offer'; readonly stream: number; readonly target: Target }
  /** The peer gave up an offer that was not answered yet, or the session ended. Still needs `release`. */
  | { readonly type: 'withdrawn'; readonly stream: number; readonly fault: WireFaultName }
  | { readonly type: 'opened'; readonly stream: number }
  | { readonly type: 'open-failed'; readonly stream: number; readonly fault: WireFaultName }
  /** The owner takes the bytes, and answers with `consume` as they are really used. */
  | { readonly type: 'data'; readonly stream: number; readonly bytes: Piece }
  | { readonly type: 'finish'; readonly stream: number }
  /** All that was written before `finish` has gone out, and FINISH behind it. */
  | { readonly type: 'finish-sent'; readonly stream: number }
  /** Both directions are over, uncleanly. */
  | { readonly type: 'reset'; readonly stream: number; readonly fault: WireFaultName }
  /** After `write` answered false: it would take more now. */
  | { readonly type: 'writable'; readonly stream: number }
  /** The peer takes no more streams on this session; those that live go on. */
  | { readonly type: 'peer-draining' }
  /** The session is over; nothing follows. Every stream was told by `reset`, `open-failed` or `withdrawn` before. */
  | { readonly type: 'ended'; readonly fault: WireFaultName };

/**
 * Why `open` gave no stream: too many are open, the session ends, all ids are used, or the target cannot be written.
 */
type OpenRefusal = 'dial-busy' | 'shutting-down' | 'out-of-ids' | 'dial-bad-target';

/** What comes of `open`: a stream that waits for its answer, none, or none before `heldUntil`, ms. */
export type Opened = { readonly stream: number } | { readonly refused: OpenRefusal } | { readonly heldUntil: number };
