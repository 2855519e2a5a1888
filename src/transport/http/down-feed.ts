/**
 * The client's side of the down stream: which *down* or *poll* request comes next, how their answers are joined without
 * a gap, and whether something on the way holds answers back. Pure, time passed in; an exchange is only told to pause,
 * to go on, or to end.
 */
import { HoldWatch } from './hold-watch.ts';
import { HELD_BACK_MS, OWED_MS, PAD_MS, RETRY_MS, WIDE_WINDOW_BYTES } from './http-limits.ts';
import { DOWN_HEAD_BYTES } from './link-requests.ts';
import { readU64, type U64 } from './u64.ts';

export interface DownRequest {
  readonly kind: 'down' | 'poll';
  readonly offset: U64;
}

/** The parts of a HttpExchange. */
export interface DownControl {
  pause(): void;
  resume(): void;
  abort(): void;
}

/** One answer, from its request on. Its fields are the feed's. */
export interface DownAnswer {
  readonly request: DownRequest;
  readonly control: DownControl;
  /** A *down* of a link that polls: whether the path carries streams again. */
  readonly isTrial: boolean;
  readonly startedAt: number;
  /** When its first byte came. */
  begunAt: number | undefined;
  lastByteAt: number;
  /** The offset at its beginning, as far as it has arrived. */
  readonly head: Uint8Array;
  headBytes: number;
  /** Of the first byte of `waiting`, or of the next one to come; undefined before the head. */
  at: number | undefined;
  waiting: Uint8Array[];
  waitingBytes: number;
  isHeld: boolean;
  isDone: boolean;
}

export interface DownSink {
  /** The down stream, in order. */
  handleBytes(bytes: Uint8Array): void;
  /** The relay says that the link has ended. */
  handleEnded(): void;
  /** An answer that no relay of this link has sent. */
  handleForeign(): void;
  /** The link is there: the first answer has begun. */
  handleBegun(): void;
  /** An answer has stopped: its connection, and others of its age, may carry nothing more. */
  handleFrozen(): void;
  /** Whether something on the way holds answers back, each time that it has shown. */
  handleHolding(isHeldBack: boolean): void;
}

/** Of the answer that is not the first: it waits for the one before it. */
const MAX_WAITING_BYTES = 64 * 1024;
/** Beyond what it asked for, a *poll* may take so long. */
const POLL_GRACE_MS = 5_000;
/** An answer to *down* that began and is silent for longer than the relay would be. */
const SILENT_MS = PAD_MS + HELD_BACK_MS;

export interface DownTimes {
  readonly rotateMs: number;
  readonly pollMs: number;
  readonly heldBackMs: number;
  /** The same for the first answer, ms. */
  readonly openingMs: number;
}

export class DownFeed {
  private answers: DownAnswer[] = [];
  private nextByte = 0;
  /** What the relay says that it has sent, and since when that is more than has arrived. */
  private expected = 0;
  private expectedAt = 0;
  private failures = 0;
  private retryAt = 0;
  private paused = false;
  private hasBegun = false;
  private flushing = false;
  private over = false;
  private readonly holds: HoldWatch;

  constructor(
    private readonly sink: DownSink,
    private readonly times: DownTimes,
  ) {
    this.holds = new HoldWatch(times.heldBackMs, (isHeldBack) => sink.handleHolding(isHeldBack));
  }

  /** All bytes before this offset were delivered. */
  get received(): number {
    return this.nextByte;
  }

  get mode(): 'stream' | 'poll' {
    return this.holds.isPolling ? 'poll' : 'stream';
  }

  // ── requests ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The request to make now, which `add` must follow. */
  poll(now: number): DownRequest | undefined {
    const [first, second] = this.answers;
    if (this.over || this.paused || now < this.retryAt || second !== undefined) return undefined;
    const { isPolling } = this.holds;
    if (first === undefined) {
      return { kind: isPolling && !this.holds.isTrialDue(now) ? 'poll' : 'down', offset: this.nextByte };
    }
    if (!this.hasBegun) {
      const isHeldBack = !isPolling && now - first.startedAt >= this.times.openingMs;
      return isHeldBack ? { kind: 'poll', offset: 0 } : undefined;
    }
    const isOld = !isPolling && first.at !== undefined && now - first.startedAt >= this.times.rotateMs;
    return isOld ? { kind: 'down', offset: 'all-ones' } : undefined;
  }

  add(request: DownRequest, control: DownControl, now: number): DownAnswer {
    const head = new Uint8Array(DOWN_HEAD_BYTES);
    const answer: DownAnswer = {
      ...{ request, control, startedAt: now, begunAt: undefined, lastByteAt: now, head, headBytes: 0, at: undefined },
      isTrial: request.kind === 'down' && this.holds.isPolling,
      ...{ waiting: [], waitingBytes: 0, isHeld: false, isDone: false },
    };
    this.answers.push(answer);
    return answer;
  }

  /** When `handleTimeout` and `poll` have something to do. */
  nextTimeout(now: number): number {
    if (this.over || this.paused) return Number.POSITIVE_INFINITY;
    const [first, second] = this.answers;
    if (first === undefined) return this.retryAt;
    const { openingMs, rotateMs } = this.times;
    if (this.hasBegun && first.request.kind === 'poll') return this.pollLateAt(first);
    if (!this.hasBegun) {
      return second === undefined ? Math.max(first.startedAt + openingMs, this.retryAt) : Number.POSITIVE_INFINITY;
    }
    const mayRotate = second === undefined && first.at !== undefined;
    const rotateAt = mayRotate ? Math.max(now, first.startedAt + rotateMs) : Number.POSITIVE_INFINITY;
    return Math.min(rotateAt, this.silentAt(first, second));
  }

  handleTimeout(now: number): void {
    const [first, second] = this.answers;
    if (this.over || this.paused || first === undefined || !this.hasBegun) return;
    if (first.request.kind === 'poll') {
      if (now >= this.pollLateAt(first)) this.repeatPoll(first, now);
    } else if (now >= this.silentAt(first, second)) {
      if (second?.at === undefined) this.renew(first, now);
      else this.drop(first, now);
    }
  }

  /** An empty *up* request is to say whether the relay is there: an answer is silent, and nothing else has said it. */
  probeAt(): number {
    const [first] = this.answers;
    if (this.over || this.paused || !this.hasBegun || first?.request.kind !== 'down') return Number.POSITIVE_INFINITY;
    const isMissed = first.at === undefined || this.isOwed;
    if (!isMissed || this.holds.upAnsweredAt > first.lastByteAt) return Number.POSITIVE_INFINITY;
    return first.lastByteAt + this.times.heldBackMs / 2;
  }

  private get isOwed(): boolean {
    return this.expected > this.nextByte;
  }

  /** The answer has stopped, or something holds it back, if it is still silent then. */
  private silentAt(first: DownAnswer, second: DownAnswer | undefined): number {
    const { heldBackMs } = this.times;
    if (first.isTrial && first.at === undefined) return first.startedAt + this.holds.trialLimitMs;
    if (first.at === undefined) return first.startedAt + heldBackMs;
    if (second !== undefined) return Math.max(first.lastByteAt, second.startedAt) + heldBackMs;
    if (!this.isOwed) return first.lastByteAt + SILENT_MS;
    return Math.max(first.lastByteAt + heldBackMs, this.expectedAt + Math.min(OWED_MS, heldBackMs));
  }

  private pollLateAt(first: DownAnswer): number {
    if (!this.isOwed) return Math.max(first.startedAt + this.times.pollMs, first.lastByteAt) + POLL_GRACE_MS;
    return Math.max(first.lastByteAt, this.expectedAt) + this.holds.pollPatienceMs;
  }

  private repeatPoll(first: DownAnswer, now: number): void {
    if (this.isOwed) this.holds.notePollSilent();
    this.drop(first, now);
    this.sink.handleFrozen();
  }

  /** All are asked for again, at the byte that is missing. */
  private renew(first: DownAnswer, now: number): void {
    if (first.isTrial && first.at === undefined) this.holds.handleTrial(false, now);
    else {
      this.holds.noteSilent(first.startedAt, first.begunAt, first.lastByteAt, now);
      this.sink.handleFrozen();
    }
    for (const { control } of this.answers) control.abort();
    this.answers = [];
    this.retryAt = now;
  }

  /** From an answer to *up*: what the relay has sent. @param tookMs the request */
  expect(sent: number, tookMs: number, now: number): void {
    this.holds.noteUpAnswer(tookMs, now);
    if (sent <= this.expected) return;
    if (this.expected <= this.nextByte) this.expectedAt = now;
    this.expected = sent;
  }

  /** The owner reads no more; what is under way waits. */
  setPaused(paused: boolean, now: number): void {
    if (paused === this.paused) return;
    this.paused = paused;
    if (!paused) {
      // What arrived meanwhile was not looked at.
      for (const answer of this.answers) answer.lastByteAt = now;
      this.expectedAt = now;
      this.flush();
    }
    this.steer();
  }

  close(): void {
    this.over = true;
    for (const { control } of this.answers) control.abort();
    this.answers = [];
  }

  // ── answers ────────────────────────────────────────────────────────────────────────────────────────────────────────

  handleBody(answer: DownAnswer, chunk: Uint8Array, now: number): void {
    if (!this.answers.includes(answer)) return;
    answer.lastByteAt = now;
    answer.begunAt ??= now;
    if (answer.request.kind === 'down') this.holds.noteStreamed(answer.begunAt, now);
    let at = 0;
    while (answer.headBytes < DOWN_HEAD_BYTES && at < chunk.length) answer.head[answer.headBytes++] = chunk[at++] ?? 0;
    if (answer.headBytes < DOWN_HEAD_BYTES) return;
    if (answer.at === undefined && !this.begin(answer, now)) return;
    if (at < chunk.length) {
      answer.waiting.push(at === 0 ? chunk : chunk.subarray(at));
      answer.waitingBytes += chunk.length - at;
      this.failures = 0;
    }
    this.flush();
    this.steer();
  }

  handleEnd(answer: DownAnswer, now: number): void {
    if (!this.answers.includes(answer)) return;
    answer.isDone = true;
    // It brought nothing, and not because there was nothing to bring.
    if (answer.at === undefined) return this.handleForeign(answer, now);
    if (answer.request.kind === 'down' && now - answer.startedAt < (RETRY_MS.at(-1) ?? 0)) this.delayNext(now);
    else this.failures = 0;
    this.flush();
    this.steer();
  }

  /** It was cut, or there was none. */
  handleFault(answer: DownAnswer, now: number): void {
    if (!this.answers.includes(answer)) return;
    if (answer.at === undefined || now - answer.startedAt < (RETRY_MS.at(-1) ?? 0)) this.delayNext(now);
    // What it has brought is whole as far as it goes.
    answer.isDone = true;
    this.flush();
    this.steer();
  }

  /** Another status, or content that is not the relay's. */
  handleForeign(answer: DownAnswer, now: number): void {
    if (!this.answers.includes(answer)) return;
    this.drop(answer, now);
    this.sink.handleForeign();
  }

  private begin(answer: DownAnswer, now: number): boolean {
    const offset = readU64(answer.head, 0);
    const { offset: asked } = answer.request;
    if (offset === 'all-ones') {
      this.sink.handleEnded();
      return false;
    }
    const isRight = asked === 'all-ones' ? isWithin(offset, this.nextByte) : offset === asked;
    if (!isRight || offset === undefined) {
      this.handleForeign(answer, now);
      return false;
    }
    answer.at = offset;
    if (answer.isTrial) this.holds.handleTrial(true, now);
    if (answer.request.kind === 'poll' && this.isOwed) {
      this.holds.notePolled(now - Math.max(answer.startedAt, this.expectedAt));
    }
    if (!this.hasBegun) {
      this.hasBegun = true;
      // An opening answer that begins only once it is replaced was held back, too.
      this.holds.noteOpened(this.answers.at(-1)?.request.kind === 'poll', now);
      this.sink.handleBegun();
    }
    return true;
  }

  /** Delivers what is in order. Only the first answer delivers: the second continues where it ends. */
  private flush(): void {
    if (this.flushing) return;
    this.flushing = true;
    for (let first = this.answers[0]; first !== undefined && !this.over; first = this.answers[0]) {
      if (first.at === undefined) {
        const [, second] = this.answers;
        if (!first.isDone && second?.at === undefined) break;
        // Cut before it began; or the other one began first, while this one is held back.
        first.control.abort();
        this.answers.shift();
      } else if (first.at > this.nextByte) {
        // The one before was cut: what lies between must be asked for again.
        first.control.abort();
        this.answers.shift();
      } else {
        this.deliver(first);
        if (!first.isDone || first.waiting.length > 0) break;
        this.answers.shift();
      }
    }
    this.flushing = false;
  }

  private deliver(answer: DownAnswer): void {
    while (!this.paused && !this.over) {
      const chunk = answer.waiting.shift();
      if (chunk === undefined) return;
      const at = answer.at ?? 0;
      answer.at = at + chunk.length;
      answer.waitingBytes -= chunk.length;
      const fresh = chunk.subarray(Math.max(0, this.nextByte - at));
      if (fresh.length === 0) continue;
      this.nextByte += fresh.length;
      this.sink.handleBytes(fresh);
    }
  }

  /** Which answers are read at the moment. */
  private steer(): void {
    for (const [i, answer] of this.answers.entries()) {
      const isHeld = this.paused || (i > 0 && answer.waitingBytes >= MAX_WAITING_BYTES);
      if (isHeld === answer.isHeld) continue;
      answer.isHeld = isHeld;
      if (isHeld) answer.control.pause();
      else answer.control.resume();
    }
  }

  private drop(answer: DownAnswer, now: number): void {
    answer.control.abort();
    this.answers = this.answers.filter((other) => other !== answer);
    this.delayNext(now);
    this.flush();
    this.steer();
  }

  private delayNext(now: number): void {
    this.retryAt = now + (RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)] ?? 0);
    this.failures += 1;
  }
}

/** The older answer brings at most a window that has not arrived. */
function isWithin(offset: number | undefined, next: number): boolean {
  return offset !== undefined && offset >= next && offset <= next + WIDE_WINDOW_BYTES;
}
