/** What becomes of one message from a program: an answer from the cache, from the exit, or at once. No sockets. */
import type { Clock } from '../clock.ts';
import { answerTo } from '../dns/answer.ts';
import { AnswerCache } from '../dns/answer-cache.ts';
import { type Asked, FAILED_ANSWER, judge } from '../dns/query.ts';
import type { ExitResolver } from './exit-resolver.ts';

/** Programs that wait for the exit's answer at once; those of one address at most half. Beyond: SERVFAIL. */
export const MAX_WAITING = 2_048;

export interface Asker {
  readonly over: 'udp' | 'tcp';
  readonly address: string;
}

export class Answerer {
  private readonly cache = new AnswerCache();
  private readonly waiting = new Map<string, number>();
  private waitingInAll = 0;

  constructor(
    private readonly resolver: Pick<ExitResolver, 'resolve'>,
    private readonly clock: Clock,
  ) {}

  /** @param reply called once, perhaps during the call; undefined: nothing is answered */
  handle(message: Uint8Array, asker: Asker, reply: (answer: Uint8Array | undefined) => void): void {
    const judged = judge(message);
    if (judged.kind === 'drop') return reply(undefined);
    if (judged.kind === 'answer') return reply(judged.answer);
    const { query, key } = judged;
    const tell = (answer: Uint8Array, ageS = 0) => reply(answerTo(query, answer, { ageS, over: asker.over }));
    const kept = this.cache.get(key, this.clock.now());
    if (kept !== undefined) return tell(kept.answer, kept.ageS);
    if (!this.admit(asker.address)) return tell(FAILED_ANSWER);
    this.ask(query, key, (answer) => {
      this.leave(asker.address);
      tell(answer);
    });
  }

  private ask(query: Asked, key: string, waiter: (answer: Uint8Array) => void): void {
    this.resolver.resolve(query, key, (answer) => {
      // Of several who wait for one answer the first keeps it.
      if (this.cache.get(key, this.clock.now()) === undefined) this.cache.put(key, answer, this.clock.now());
      waiter(answer);
    });
  }

  private admit(address: string): boolean {
    const ofAddress = this.waiting.get(address) ?? 0;
    if (this.waitingInAll >= MAX_WAITING || ofAddress >= MAX_WAITING / 2) return false;
    this.waiting.set(address, ofAddress + 1);
    this.waitingInAll++;
    return true;
  }

  private leave(address: string): void {
    const left = (this.waiting.get(address) ?? 0) - 1;
    if (left > 0) this.waiting.set(address, left);
    else this.waiting.delete(address);
    this.waitingInAll--;
  }
}
