/**
 * What a session remembers of one stream (docs/protocol.md §7): plain state, changed only by session.ts and
 * receive-windows.ts. Its absence from the session's table is the state `closed`. Pure.
 */
import type { Target } from '../protocol/target.ts';
import { SendQueue } from './send-queue.ts';

export type StreamPhase =
  /** We sent OPEN and wait. */
  | 'opening'
  /** The peer sent OPEN, the owner has not answered. */
  | 'offered'
  | 'open'
  /** Out of the table; the scheduler or the credit list may still hold it. */
  | 'closed';

export class StreamState {
  readonly id: number;
  readonly target: Target;
  phase: StreamPhase;

  // Sending.
  readonly queue = new SendQueue();
  sendCredit = 0;
  /** The owner will write no more; FINISH goes out when the queue is empty. */
  finishWanted = false;
  finishSent = false;
  /** The owner has let go of it: RESET follows what is queued, and what still comes is dropped. */
  resetWanted = false;
  resetSent = false;
  /** `write` answered false; the owner waits for `writable`. */
  ownerWaits = false;
  /** The scheduler holds it: at most once. */
  scheduled = false;
  /** Of the scheduler: what is left of its quantum, bytes, and in which round it got that. */
  deficit = 0;
  round = 0;

  // Receiving. Invariant: granted + held ≤ what the ledger has counted for it.
  /** Credit that the peer has and has not used, bytes. */
  granted = 0;
  /** Received and not yet consumed by the owner, bytes. */
  held = 0;
  finishReceived = false;
  /** Of an offered stream: the owner has nothing left of it. */
  released = false;
  /** What `granted + held` is to be brought up to. */
  window = 0;
  /** Since when, and how much, the owner consumed: decides whether the window grows. */
  epoch = 0;
  consumedInEpoch = 0;

  constructor(id: number, target: Target, phase: StreamPhase) {
    this.id = id;
    this.target = target;
    this.phase = phase;
  }

  /** Something could go out now. */
  get sendable(): boolean {
    if (this.phase !== 'open') return false;
    if (this.queue.bytes > 0) return this.sendCredit > 0;
    return this.owesFinish || this.owesReset;
  }

  /** RESET is still to be sent. */
  get owesReset(): boolean {
    return this.resetWanted && !this.resetSent;
  }

  /** FINISH is still to be sent. */
  get owesFinish(): boolean {
    return this.finishWanted && !this.finishSent;
  }
}
