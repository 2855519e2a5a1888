/** Links of a session without the session: what a test sends on them, and what it has acknowledged. */
import { KeptRecords, type RecordPart } from '../../../src/mux/links/kept-records.ts';
import { DEFAULT_RESUME_CONFIG } from '../../../src/mux/links/resume-config.ts';
import { RetransmitMemory } from '../../../src/mux/links/retransmit-store.ts';
import { SessionLink } from '../../../src/mux/links/session-link.ts';

const MEMORY_BYTES = 64 * 1024 * 1024;

export class TestLinks {
  readonly memory = new RetransmitMemory(MEMORY_BYTES);
  readonly kept = new KeptRecords(this.memory);
  private readonly sent = new Map<SessionLink, number>();

  /** One that joins. */
  link(now = 0): SessionLink {
    const start = { sent: 0, received: 0, lastNumber: undefined };
    return new SessionLink(DEFAULT_RESUME_CONFIG, this.kept, start, now);
  }

  /** A new record goes out. */
  send(link: SessionLink, bytes: number, now: number): RecordPart {
    return this.sendPart(link, this.kept.push([Buffer.alloc(bytes)], bytes, undefined), now);
  }

  sendPart(link: SessionLink, part: RecordPart, now: number): RecordPart {
    link.onSent(part, now, false);
    this.sent.set(link, (this.sent.get(link) ?? 0) + 1);
    return part;
  }

  /** The peer has all that was sent on the link, since `at`. */
  acknowledgeAll(link: SessionLink, now: number, at = now): number | undefined {
    return link.onAcknowledged({ position: this.sent.get(link) ?? 0, receivedUs: at * 1000 }, now);
  }

  /** Carries so many rounds, each of one record, at a round trip of so many ms; returns when it is over. */
  warmUp(link: SessionLink, roundTripMs: number, now = 0, rounds = 20): number {
    let at = now;
    for (let i = 0; i < rounds; i++) {
      this.send(link, 1_000, at);
      at += roundTripMs;
      this.acknowledgeAll(link, at, at - roundTripMs / 2);
    }
    return at;
  }
}
