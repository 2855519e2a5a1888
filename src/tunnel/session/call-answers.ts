/** Answers the calls of relays for a named exit: dials a data link for each, as many at once as it may. */
import { withLimit } from '../../async/abortable.ts';
import { type Clock, systemClock } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import type { Logger } from '../../observability/logger.ts';
import type { MessageLink } from '../../transport/message-link.ts';

/** An answer after this time finds no client: the relay holds one for 8 s. */
const ANSWER_LIMIT_MS = 10_000;
/** At another relay: after that the one that called can still go there in the place of the exit. */
export const ELSEWHERE_LIMIT_MS = 3_000;
/** Data links being dialled; a relay has 128 requests open at an exit, and accepts 256 connections at once. */
const MAX_ANSWERS = 256;

export interface CallAnswersOptions {
  /** A client's link; its handler must be set before the turn ends. */
  readonly onLink: (link: MessageLink) => void;
  readonly logger: Logger;
  readonly clock?: Clock | undefined;
}

export class CallAnswers {
  private readonly clock: Clock;
  private open = 0;

  constructor(private readonly options: CallAnswersOptions) {
    this.clock = options.clock ?? systemClock;
  }

  /** False: there is no link. Never rejects. @param signal gives the answer up */
  async answer(
    dial: (signal: AbortSignal) => Promise<MessageLink>,
    signal: AbortSignal,
    limitMs = ANSWER_LIMIT_MS,
  ): Promise<boolean> {
    if (this.open >= MAX_ANSWERS) return false;
    const { clock, options } = this;
    this.open += 1;
    try {
      const expired = () => new WstunError('relay-unreachable', 'no answer in time');
      options.onLink(await withLimit({ clock, signal, limitMs }, expired, dial));
      return true;
    } catch (error) {
      const fault = error instanceof WstunError ? error.fault : String(error);
      options.logger.info({ fault }, 'a link for a client could not be opened');
      return false;
    } finally {
      this.open -= 1;
    }
  }
}
