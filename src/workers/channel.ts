/** One end of the IPC between the hub and a worker: notes, and questions with their answers. Knows no process. */
import { type Clock, systemClock, type Timer } from '../clock.ts';
import type { Envelope, Note, QuestionName, Questions } from './messages.ts';

/** For the answer to a question, ms. A worker that is stopped answers nothing; clients are held for 8 s. */
export const ANSWER_LIMIT_MS = 5_000;
/** Questions without an answer. A worker has as many links opening at most (docs/limits.md), each with one. */
const MAX_QUESTIONS = 16_384;

export interface ChannelHandler {
  handleNote(note: Note): void;
  /** Undefined: this end does not answer that. May reject: then it has no answer, either. */
  handleQuestion<Name extends QuestionName>(
    name: Name,
    ask: Questions[Name]['ask'],
  ): Promise<Questions[Name]['answer']> | undefined;
}

interface Pending {
  readonly settle: (answer: unknown) => void;
  readonly limit: Timer;
}

export class Channel {
  private readonly pending = new Map<number, Pending>();
  private lastId = 0;

  /** @param post hands a message to the other end; drops it where that has gone */
  constructor(
    private readonly post: (envelope: Envelope) => void,
    private readonly handler: ChannelHandler,
    private readonly clock: Clock = systemClock,
  ) {}

  note(note: Note): void {
    this.post(note);
  }

  /** Undefined: there is no answer, in time or at all. */
  ask<Name extends QuestionName>(
    name: Name,
    ask: Questions[Name]['ask'],
    limitMs = ANSWER_LIMIT_MS,
  ): Promise<Questions[Name]['answer'] | undefined> {
    if (this.pending.size >= MAX_QUESTIONS) return Promise.resolve(undefined);
    this.lastId += 1;
    const id = this.lastId;
    return new Promise((resolve) => {
      const settle = (answer: unknown): void => {
        this.clock.clearTimeout(limit);
        this.pending.delete(id);
        resolve(answer as Questions[Name]['answer'] | undefined);
      };
      const limit = this.clock.setTimeout(() => settle(undefined), limitMs);
      limit.unref();
      this.pending.set(id, { settle, limit });
      this.post({ asks: name, id, ask } as Envelope);
    });
  }

  /** What the other end has sent. */
  receive(envelope: Envelope): void {
    if ('note' in envelope) this.handler.handleNote(envelope);
    else if ('answers' in envelope) this.pending.get(envelope.answers)?.settle(envelope.answer);
    else void this.answer(envelope);
  }

  /** The other end has gone: no question gets an answer any more. */
  close(): void {
    for (const { settle } of [...this.pending.values()]) settle(undefined);
  }

  private async answer({ asks, id, ask }: Extract<Envelope, { readonly asks: QuestionName }>): Promise<void> {
    const answer = await this.handler.handleQuestion(asks, ask)?.catch(() => undefined);
    this.post({ answers: id, answer });
  }
}
