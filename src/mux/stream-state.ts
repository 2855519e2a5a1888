/** The state of one stream (docs/protocol.md §7). One that is not in the table of the session is closed. Pure. */
import { hasDatagrams, type Service } from '../protocol/services.ts';
import type { Target } from '../protocol/target.ts';
import { DatagramQueue, type QueuedOfAll } from './datagram-queue.ts';
import { SendQueue } from './send-queue.ts';

export type StreamPhase =
  /** We sent OPEN and wait for the answer. */
  | 'opening'
  /** The peer sent OPEN, the owner has not answered. */
  | 'offered'
  | 'open'
  /** Not in the table; the scheduler or the list of pending credit may still hold it. */
  | 'closed';

export class StreamState {
  // Sending.
  /** Of an association. */
  readonly datagrams: DatagramQueue | undefined;
  readonly queue = new SendQueue();
  sendCredit = 0;
  /** The owner will write no more; FINISH goes out when the queue is empty. */
  finishWanted = false;
  finishSent = false;
  /** The owner has reset it: RESET follows what is queued, and what still arrives is dropped. */
  resetWanted = false;
  resetSent = false;
  /** `write` returned false; the owner waits for `writable`. */
  ownerWaits = false;
  /** The scheduler holds it: at most once. */
  scheduled = false;
  /** For the scheduler: what is left of the stream's quantum, bytes, and in which round it got that. */
  deficit = 0;
  round = 0;

  // Receiving. Invariant: granted + held ≤ what ReceiveWindows has counted for it.
  /** Credit that the peer has and has not used, bytes. */
  granted = 0;
  /** Received and not yet consumed by the owner, bytes. */
  held = 0;
  finishReceived = false;
  /** Of an offered stream: the owner has nothing left of it. */
  released = false;
  /** The goal for `granted + held`, bytes. */
  window = 0;
  /** Since when, ms, and how many bytes the owner consumed: decides whether the window grows. */
  epoch = 0;
  consumedInEpoch = 0;

  constructor(
    readonly id: number,
    readonly service: Service,
    readonly target: Target,
    public phase: StreamPhase,
    datagrams?: QueuedOfAll,
  ) {
    this.datagrams = hasDatagrams(service) ? new DatagramQueue(id, datagrams) : undefined;
  }

  get sendable(): boolean {
    if (this.phase !== 'open' || this.datagrams?.isEmpty === false) return false;
    if (this.queue.bytes > 0) return this.sendCredit > 0;
    return this.hasPendingFinish || this.hasPendingReset;
  }

  get hasPendingReset(): boolean {
    return this.resetWanted && !this.resetSent;
  }

  get hasPendingFinish(): boolean {
    return this.finishWanted && !this.finishSent;
  }
}
