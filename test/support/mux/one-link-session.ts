/** A session that one link at a time carries, for tests which are not about several. */
import type { MuxConfig } from '../../../src/mux/config.ts';
import { DEFAULT_MUX_CONFIG } from '../../../src/mux/config.ts';
import { DEFAULT_RESUME_CONFIG, type ResumeConfig } from '../../../src/mux/links/resume-config.ts';
import { RetransmitMemory } from '../../../src/mux/links/retransmit-store.ts';
import type { SessionLink } from '../../../src/mux/links/session-link.ts';
import { ResumableSession } from '../../../src/mux/resumable-session.ts';

const MEMORY_BYTES = 64 * 1024 * 1024;

export class OneLinkSession extends ResumableSession {
  /** The present link, or the last one. */
  link: SessionLink | undefined;

  static of(
    mux: Pick<MuxConfig, 'role'> & Partial<MuxConfig>,
    resume: Partial<ResumeConfig> = {},
    memory = new RetransmitMemory(MEMORY_BYTES),
  ): OneLinkSession {
    return new OneLinkSession({ ...DEFAULT_MUX_CONFIG, ...mux }, { ...DEFAULT_RESUME_CONFIG, ...resume }, memory, 0);
  }

  override attach(peerReceived: number, saidReceived: number, now: number): SessionLink | undefined {
    const link = super.attach(peerReceived, saidReceived, now);
    this.link = link ?? this.link;
    return link;
  }

  /** A message comes by the link. */
  receive(message: readonly Uint8Array[], now: number): void {
    if (this.link !== undefined) this.handleMessage(this.link, message, now);
  }

  /** The next message for the link. */
  pollMessage(now: number): readonly Uint8Array[] | undefined {
    return this.poll(now)?.message;
  }

  /** The link is lost. */
  lose(now: number): void {
    if (this.link !== undefined) this.detach(this.link, now);
  }
}
