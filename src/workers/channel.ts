/** One end of the IPC between the hub and a worker: notes, and questions with their answers. Knows no process. */
import type { Socket } from 'node:net';
import { type Clock, systemClock, type Timer } from '../clock.ts';
import type { Envelope, Note, QuestionName, Questions } from './messages.ts';

/** For the answer to a question, ms. A worker that is stopped answers nothing; clients are held for 8 s. */
export const ANSWER_LIMIT_MS = 5_000;
/** Questions without an answer. A worker has as many links opening at most (docs/limits.md), each with one. */
const MAX_QUESTIONS = 16_384;

export interface ChannelHandler {
  /** @param socket a connection that came with it */
  handleNote(note: Note, socket?: Socket): void;
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
    private readonly post: (envelope: Envelope, socket?: Socket) => void,
    private readonly handler: ChannelHandler,
    private readonly clock: Clock = systemClock,
  ) {}

  /** @param socket a connection that goes with it */
  note(note: Note, socket?: Socket): void {
    this.post(note, socket);
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
  receive(envelope: Envelope, socket?: Socket): void {
    if ('note' in envelope) this.handler.handleNote(envelope, socket);
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
