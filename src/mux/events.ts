/** What a session reports to its owner: `MuxSession.pollEvent`, and the result of `open`. Pure. */
import type { WireFaultName } from '../errors.ts';
import type { Piece } from '../memory/pieces.ts';
import type { ToldRelays } from '../protocol/relays.ts';
import type { OpenRequest } from '../protocol/services.ts';
import type { Target } from '../protocol/target.ts';

export type MuxEvent =
  /** The peer's HELLO has come: it speaks our version. */
  | { readonly type: 'established' }
  /** The peer asks for a stream: answer with `accept` or `refuse`; `release` it when its socket and dial are gone. */
  | { readonly type: 'offer'; readonly stream: number; readonly request: OpenRequest }
  /** The peer reset an offer that was not answered yet, or the session ended. Still needs `release`. */
  | { readonly type: 'cancelled'; readonly stream: number; readonly fault: WireFaultName }
  /** `bound`: of a listener, where it listens. */
  | { readonly type: 'opened'; readonly stream: number; readonly bound: Target | undefined }
  | { readonly type: 'open-failed'; readonly stream: number; readonly fault: WireFaultName }
  /** The owner takes the bytes, and calls `consume` when they are really used. */
  | { readonly type: 'data'; readonly stream: number; readonly bytes: Piece }
  /** Of an association, offered or open. `address`: where it comes from, or goes to, unless that is connected. */
  | {
      readonly type: 'datagram';
      readonly stream: number;
      readonly address: Target | undefined;
      readonly content: Uint8Array;
    }
  | { readonly type: 'finish'; readonly stream: number }
  /** All that was written before `finish` has gone out, and FINISH after it. */
  | { readonly type: 'finish-sent'; readonly stream: number }
  /** Both directions are over, uncleanly. */
  | { readonly type: 'reset'; readonly stream: number; readonly fault: WireFaultName }
  /** After `write` returned false: it would take more now. */
  | { readonly type: 'writable'; readonly stream: number }
  /** The peer could use so many links, and can receive so many bytes on each; 0: any number. */
  | { readonly type: 'links-wanted'; readonly wanted: number; readonly maxBytes: number }
  /** The exit knows these relays: only at a client. */
  | { readonly type: 'relays'; readonly told: ToldRelays }
  /** After `pingNow`, ms. */
  | { readonly type: 'pong'; readonly roundTripMs: number }
  /** The peer takes no more streams on this session; live ones continue. */
  | { readonly type: 'peer-draining' }
  /** The session is over; nothing follows. Every stream had `reset`, `open-failed` or `cancelled` before. */
  | { readonly type: 'ended'; readonly fault: WireFaultName };

/**
 * Why `open` gave no stream: too many are open, the session ends, no id is left, the target cannot be encoded, or the
 * peer does not know the service.
 */
type OpenRefusal = 'dial-busy' | 'shutting-down' | 'out-of-ids' | 'dial-bad-target' | 'service-unknown';

/** The result of `open`: a stream that waits for its answer, none, or none before `heldUntil`, ms. */
export type Opened = { readonly stream: number } | { readonly refused: OpenRefusal } | { readonly heldUntil: number };

export class EventQueue {
  private events: MuxEvent[] = [];
  private next = 0;

  push(event: MuxEvent): void {
    this.events.push(event);
  }

  poll(): MuxEvent | undefined {
    const event = this.events[this.next];
    this.next += 1;
    if (event !== undefined) return event;
    this.events = [];
    this.next = 0;
    return undefined;
  }
}
