/**
 * Asks the exit's resolver: all questions go by one stream of the session, each once however many programs wait for it.
 * The stream is opened when there is something to ask, and again when it has ended. Touches no socket.
 */
import type { Clock, Timer } from '../clock.ts';
import { neutralAnswer } from '../dns/answer.ts';
import { framed, MessageReader } from '../dns/framing.ts';
import { type Asked, FAILED_ANSWER, forwarded, REFUSED_ANSWER } from '../dns/query.ts';
import { u16 } from '../dns/wire.ts';
import { WstunError } from '../errors.ts';
import { release } from '../memory/pieces.ts';
import type { Logger } from '../observability/logger.ts';
import type { ResolverOpener } from '../tunnel/stream/services.ts';
import type { TunnelStream } from '../tunnel/stream/stream.ts';

/** For an answer, ms. Programs wait 5 s and then ask again or elsewhere: they should get SERVFAIL before. */
export const ANSWER_LIMIT_MS = 4_500;
/** Different questions that wait at once. Beyond: SERVFAIL. */
export const MAX_QUESTIONS = 1_024;
/** Without a question the stream is closed after this time, ms: it would count as an open connection. */
const IDLE_MS = 30_000;
/** After a stream that could not be opened, or ended without an answer, ms; it doubles. */
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [250, 8_000];

interface Question {
  readonly asked: Asked;
  readonly key: string;
  readonly id: number;
  readonly limit: Timer;
  readonly waiters: ((answer: Uint8Array) => void)[];
}

type State =
  | { readonly kind: 'closed' }
  | { readonly kind: 'opening'; readonly abort: AbortController }
  | { readonly kind: 'open'; readonly stream: TunnelStream; readonly reader: MessageReader }
  /** Not to be opened before `pause` is over. `answer`: what is answered meanwhile; undefined: questions wait. */
  | { readonly kind: 'paused'; readonly pause: Timer; readonly answer: Uint8Array | undefined };

export interface ExitResolverParts {
  readonly opener: ResolverOpener;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class ExitResolver {
  private readonly byKey = new Map<string, Question>();
  private readonly byId = new Map<number, Question>();
  private state: State = { kind: 'closed' };
  private nextId = 0;
  private failuresInARow = 0;
  private told: string | undefined;
  private idle: Timer | undefined;
  private isOver = false;

  constructor(private readonly parts: ExitResolverParts) {}

  /** @param waiter gets, once and perhaps during the call, an answer as of `neutralAnswer`, in ANSWER_LIMIT_MS */
  resolve(asked: Asked, key: string, waiter: (answer: Uint8Array) => void): void {
    const same = this.byKey.get(key);
    if (same !== undefined) {
      same.waiters.push(waiter);
      return;
    }
    const isPausing = this.state.kind === 'paused' && this.state.answer !== undefined;
    if (this.isOver || this.byKey.size >= MAX_QUESTIONS || isPausing) {
      const answer = this.state.kind === 'paused' ? this.state.answer : undefined;
      waiter(answer ?? FAILED_ANSWER);
      return;
    }
    this.ask(asked, key, waiter);
  }

  /** All who wait get SERVFAIL. */
  close(): void {
    this.isOver = true;
    this.leave();
    this.answerAll(FAILED_ANSWER);
    this.parts.clock.clearTimeout(this.idle);
  }

  private ask(asked: Asked, key: string, waiter: Question['waiters'][number]): void {
    const id = this.freeId();
    const limit = this.parts.clock.setTimeout(() => this.settle(question, FAILED_ANSWER), ANSWER_LIMIT_MS);
    const question: Question = { asked, key, id, limit, waiters: [waiter] };
    this.byKey.set(key, question);
    this.byId.set(id, question);
    this.parts.clock.clearTimeout(this.idle);
    if (this.state.kind === 'open') this.send(this.state.stream, question);
    else if (this.state.kind === 'closed') this.open();
  }

  /** There are far fewer questions than ids. */
  private freeId(): number {
    do this.nextId = (this.nextId + 1) & 0xffff;
    while (this.byId.has(this.nextId));
    return this.nextId;
  }

  private settle(question: Question, answer: Uint8Array): void {
    this.byKey.delete(question.key);
    this.byId.delete(question.id);
    this.parts.clock.clearTimeout(question.limit);
    for (const waiter of question.waiters) waiter(answer);
    if (this.byKey.size > 0 || this.isOver) return;
    // A dial for which nobody waits any more; the next question starts another.
    if (this.state.kind === 'opening') this.leave();
    this.parts.clock.clearTimeout(this.idle);
    this.idle = this.parts.clock.setTimeout(() => this.leave(), IDLE_MS).unref();
  }

  private answerAll(answer: Uint8Array): void {
    for (const question of [...this.byKey.values()]) this.settle(question, answer);
  }

  /** Ends the stream, if there is one, and pauses. */
  private leave(): void {
    const { state } = this;
    this.state = { kind: 'closed' };
    if (state.kind === 'opening') state.abort.abort();
    if (state.kind === 'open') state.stream.destroy();
    if (state.kind === 'paused') this.parts.clock.clearTimeout(state.pause);
  }

  private open(): void {
    const abort = new AbortController();
    this.state = { kind: 'opening', abort };
    this.parts.opener.openResolver(abort.signal).then(
      (stream) => (abort.signal.aborted ? stream.destroy() : this.handleOpened(stream)),
      (error: unknown) => abort.signal.aborted || this.handleNotOpened(error),
    );
  }

  private handleOpened(stream: TunnelStream): void {
    const reader = new MessageReader();
    this.state = { kind: 'open', stream, reader };
    stream.on('data', (bytes: Buffer) => {
      const messages = reader.receive(bytes);
      release(bytes);
      for (const message of messages) this.handleMessage(message);
    });
    stream.on('error', () => {});
    // An exit that has closed its direction sends no answers any more.
    stream.on('end', () => stream.destroy());
    stream.on('close', () => this.handleClosed(stream));
    this.told = undefined;
    for (const question of this.byKey.values()) this.send(stream, question);
  }

  private send(stream: TunnelStream, { asked, id }: Question): void {
    stream.write(framed(forwarded(asked, id)));
  }

  private handleMessage(message: Uint8Array): void {
    const question = message.length < 2 ? undefined : this.byId.get(u16(message, 0));
    if (question === undefined) return;
    this.failuresInARow = 0;
    this.settle(question, neutralAnswer(message, question.asked.question) ?? FAILED_ANSWER);
  }

  private handleClosed(stream: TunnelStream): void {
    if (this.state.kind !== 'open' || this.state.stream !== stream) return;
    this.state = { kind: 'closed' };
    if (this.byKey.size > 0) this.pause(undefined);
  }

  private handleNotOpened(error: unknown): void {
    const fault = error instanceof WstunError ? error : new WstunError('internal', String(error));
    this.tell(fault);
    const answer = fault.fault === 'dial-not-allowed' ? REFUSED_ANSWER : FAILED_ANSWER;
    this.pause(answer);
    this.answerAll(answer);
  }

  private pause(answer: Uint8Array | undefined): void {
    const ms = Math.min(FIRST_PAUSE_MS * 2 ** this.failuresInARow, LONGEST_PAUSE_MS);
    this.failuresInARow = Math.min(this.failuresInARow + 1, 16);
    const pause = this.parts.clock.setTimeout(() => {
      this.state = { kind: 'closed' };
      if (this.byKey.size > 0) this.open();
    }, ms);
    pause.unref();
    this.state = { kind: 'paused', pause, answer };
  }

  /** Each reason once, until it works again. */
  private tell(fault: WstunError): void {
    if (this.told === fault.fault) return;
    this.told = fault.fault;
    this.parts.logger.warn({ fault: fault.fault }, `names cannot be resolved at the exit: ${fault.message}`);
  }
}
