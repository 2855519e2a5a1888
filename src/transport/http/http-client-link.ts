/**
 * The client's end of an HTTP link: makes the requests that UpSchedule and DownFeed decide on, with whatever
 * HttpRequester it is given. Knows neither keys, nor Node, nor browsers: it runs in both.
 */
import { AnswerTimes } from './answer-times.ts';
import { DownFeed, type DownRequest, type DownSink, type DownTimes } from './down-feed.ts';
import {
  ACK_AT_ONCE_BYTES,
  ACK_BYTES,
  ACK_LATE_MS,
  ACK_PAUSE_MS,
  ACK_SOON_BYTES,
  ACK_SOON_MS,
  HELD_BACK_AGAIN_MS,
  HELD_BACK_MS,
  MAX_FOREIGN_ANSWERS,
  PAD_MS,
  POLL_MS,
  RETRY_MS,
  ROTATE_MS,
  SILENCE_MS,
  UP_TIMEOUT_MS,
} from './http-limits.ts';
import { HttpLinkEnd } from './http-link-end.ts';
import type { AnswerHandler, HttpExchange, HttpRequester, LinkClock, LinkTimer } from './http-requester.ts';
import { decodeUpAnswer, encodeRequest, type RequestKind } from './link-requests.ts';
import { type UpBody, UpSchedule } from './up-schedule.ts';

/** What the first request got that is no link. */
export type OpeningFault =
  | { readonly kind: 'answer'; readonly status: number; readonly header: (name: string) => string | undefined }
  | { readonly kind: 'failed'; readonly error: unknown };

export interface HttpClientOptions {
  readonly requester: HttpRequester;
  readonly clock: LinkClock;
  /** Of the first request, with the ticket. */
  readonly openingUrl: string;
  /** Of a further request. @param payload as of `encodeRequest`: seals it into the path */
  readonly urlOf: (payload: Uint8Array) => string;
  /** For logs. */
  readonly remote: string;
  /** The link is open: its handler must be set before the turn ends. */
  readonly onOpen: (link: HttpClientLink) => void;
  /** It will not be. At most one of the two is called, once. */
  readonly onFault: (fault: OpeningFault) => void;
  /** Default: nothing is known of the path, and nobody wants to know. */
  readonly holding?: Holding | undefined;
  /** For tests. */
  readonly times?: Partial<DownTimes>;
}

/** Whether something on the way holds answers back until they are complete. */
export interface Holding {
  /** It did so before. */
  readonly isExpected: boolean;
  /** It does, or does not; each time that it has shown. */
  readonly onFound: (isHeldBack: boolean) => void;
}

/** The largest answer to *up* that is looked at. */
const MAX_UP_ANSWER_BYTES = 4_096;
const CONTENT_TYPE = 'application/octet-stream';
/** After this time without a byte of any answer, an empty *up* asks whether the relay is there. */
const PROBE_MS = PAD_MS + HELD_BACK_MS;
/** The last request of a link that was aborted: the relay need not wait for it. */
const FAREWELL_MS = 2_000;
/** An *up* request to be made. */
interface PostRequest {
  readonly url: string;
  readonly pieces: readonly Uint8Array[];
  /** Undefined: it is empty. */
  readonly body: UpBody | undefined;
  readonly limitMs: number;
}

/** An *up* request under way. */
interface Post {
  /** Undefined: it is empty. */
  readonly body: UpBody | undefined;
  /** When it is given up. */
  readonly until: number;
  readonly giveUp: () => void;
}

const NO_EXCHANGE: HttpExchange = { pause: () => {}, resume: () => {}, abort: () => {} };

export class HttpClientLink extends HttpLinkEnd implements DownSink {
  private readonly times = new AnswerTimes();
  private readonly up: UpSchedule;
  private readonly down: DownFeed;
  private readonly posts = new Map<HttpExchange, Post>();
  private sequence = 0;
  private isOpen = false;
  /** What the relay was last told that it need not keep. */
  private toldReceived = 0;
  private toldAt = 0;
  /** When an acknowledgement is due; Infinity: none is. */
  private ackAt = Number.POSITIVE_INFINITY;
  private isAcking = false;
  /** Empty requests in a row without an answer. */
  private lostAcks = 0;
  private heardAt: number;
  private upFailures = 0;
  private upRetryAt = 0;
  /** Answers in a row that were not the relay's. */
  private foreign = 0;
  private timer: LinkTimer | undefined;
  private timerAt = 0;
  private pumping = false;
  private pumpPending = false;

  constructor(private readonly options: HttpClientOptions) {
    super(options.remote, options.clock);
    this.heardAt = this.clock.now();
    this.up = new UpSchedule(this.sender, this.times, options.requester.mostBodies);
    const times = { rotateMs: ROTATE_MS, pollMs: POLL_MS, heldBackMs: HELD_BACK_MS, ...options.times };
    const openingMs = options.holding?.isExpected ? HELD_BACK_AGAIN_MS : times.heldBackMs;
    this.down = new DownFeed(this, { openingMs, ...times });
    this.startDown({ kind: 'down', offset: 0 }, options.openingUrl);
    this.arm();
  }

  get mode(): 'stream' | 'poll' {
    return this.down.mode;
  }

  /** Gives up before it is open. */
  cancel(): void {
    this.fail('cancelled');
  }

  // ── HttpLinkEnd ────────────────────────────────────────────────────────────────────────────────────────────────────

  protected override get unsentBytes(): number {
    return this.up.unsentBytes;
  }

  protected override handleAppended(): void {
    if (this.pumpPending) return;
    this.pumpPending = true;
    queueMicrotask(() => {
      this.pumpPending = false;
      this.pump();
    });
  }

  protected override handleAppetite(): void {
    this.down.setPaused(!this.wantsMore || this.isPaused, this.clock.now());
    this.handleAppended();
  }

  protected override handlePeerClosed(): void {
    // The relay waits for our Close.
    if (this.sender.retainedBytes === 0) this.finishClosed();
    else this.handleAppended();
  }

  protected override handleOver(isAbort: boolean): void {
    this.clock.clearTimeout(this.timer);
    this.down.close();
    for (const post of this.posts.keys()) post.abort();
    if (this.isOpen && isAbort) this.sayFarewell();
    else this.options.requester.close();
  }

  /** Best effort: so that the relay need not wait until it notices. */
  private sayFarewell(): void {
    const { requester } = this.options;
    const leave = (): void => {
      this.clock.clearTimeout(timer);
      requester.close();
    };
    const timer = this.clock.setTimeout(leave, FAREWELL_MS).unref();
    const url = this.urlOf('close', this.up.position, 0);
    const handler = { handleHead: () => {}, handleBody: () => {}, handleEnd: leave, handleFault: leave };
    requester.request({ method: 'POST', url, body: [] }, handler);
  }

  // ── DownSink ───────────────────────────────────────────────────────────────────────────────────────────────────────

  handleBytes(bytes: Uint8Array): void {
    this.take(bytes);
    if (this.isOver) return;
    const now = this.clock.now();
    this.ackAt = Math.min(this.ackAt, this.acknowledgeAt(this.down.received - this.toldReceived, now));
  }

  private acknowledgeAt(bytes: number, now: number): number {
    if (bytes >= ACK_AT_ONCE_BYTES) return now;
    if (bytes >= ACK_BYTES) return Math.max(now, this.toldAt + ACK_PAUSE_MS);
    return now + (bytes >= ACK_SOON_BYTES ? ACK_SOON_MS : ACK_LATE_MS);
  }

  handleEnded(): void {
    // Its own Close may have been lost with the answer that had it.
    if (this.isClosing) this.finishClosed();
    else this.fail('the relay has ended the link');
  }

  handleForeign(): void {
    this.foreign += 1;
    if (this.isOpen && this.foreign >= MAX_FOREIGN_ANSWERS) this.fail('the relay does not know the link any more');
  }

  handleBegun(): void {
    this.isOpen = true;
    this.options.onOpen(this);
  }

  handleFrozen(): void {
    this.options.requester.distrust?.();
  }

  handleHolding(isHeldBack: boolean): void {
    this.options.holding?.onFound(isHeldBack);
  }

  // ── requests ───────────────────────────────────────────────────────────────────────────────────────────────────────

  private pump(): void {
    if (this.isOver || this.pumping) return;
    this.pumping = true;
    const now = this.clock.now();
    if (this.isOpen && now >= this.upRetryAt) this.pumpUp(now);
    for (let next = this.down.poll(now); next !== undefined && !this.isOver; next = this.down.poll(now)) {
      this.startDown(next, this.urlOf(next.kind, next.offset, next.kind === 'poll' ? POLL_MS : 0));
    }
    this.pumping = false;
    this.arm();
  }

  private pumpUp(now: number): void {
    if (this.up.doubt(now)) this.handleFrozen();
    for (let surplus = this.up.takeSurplus(); surplus !== undefined; surplus = this.up.takeSurplus()) {
      this.abortPost(surplus);
    }
    for (let body = this.up.poll(now); body !== undefined; body = this.up.poll(now)) this.startUp(body);
    const isProbeDue = this.up.isProbeDue(now);
    const isDue = now >= this.ackAt || now - this.heardAt >= PROBE_MS || isProbeDue || now >= this.down.probeAt();
    if (isDue && !this.isAcking) {
      if (isProbeDue) this.up.handleProbe();
      this.startAck();
    }
    this.handleSent();
  }

  private abortPost(surplus: UpBody): void {
    for (const [exchange, { body }] of this.posts) {
      if (body !== surplus) continue;
      exchange.abort();
      this.posts.delete(exchange);
    }
  }

  private urlOf(kind: RequestKind, offset: DownRequest['offset'], waitMs: number): string {
    const { received } = this.down;
    this.sequence += 1;
    this.toldReceived = Math.max(this.toldReceived, received);
    this.toldAt = this.clock.now();
    this.ackAt = Number.POSITIVE_INFINITY;
    return this.options.urlOf(encodeRequest({ kind, sequence: this.sequence, offset, received, waitMs }));
  }

  private startUp(body: UpBody): void {
    const url = this.urlOf('up', body.from, 0);
    const view = this.sender.view(body.from, body.to);
    this.post({ url, pieces: view.pieces, body, limitMs: UP_TIMEOUT_MS }, (received) => {
      if (received === undefined) return this.up.handleLost(body);
      // Only now it is certain that no connection still has them to send.
      if (received >= body.to) view.release();
      this.up.handleAnswer(body, received, this.clock.now());
    });
  }

  /** An empty body: beside those that may be stuck because the relay's owner has paused the link. */
  private startAck(): void {
    this.isAcking = true;
    const told = this.down.received;
    const sentAt = this.clock.now();
    const limitMs = this.times.doubtMs(0, this.lostAcks);
    const url = this.urlOf('up', this.up.position, 0);
    this.post({ url, pieces: [], body: undefined, limitMs }, (received) => {
      this.isAcking = false;
      if (received === undefined) {
        this.lostAcks += 1;
        this.toldReceived = Math.min(this.toldReceived, told - 1);
      } else {
        this.lostAcks = 0;
        this.times.note(0, this.clock.now() - sentAt);
      }
      if (this.toldReceived < this.down.received) this.ackAt = Math.min(this.ackAt, this.clock.now() + ACK_SOON_MS);
    });
  }

  /** @param settle gets what the relay has, or undefined for a request that was lost; called once */
  private post({ url, pieces, body, limitMs }: PostRequest, settle: (received: number | undefined) => void): void {
    const sentAt = this.clock.now();
    const parts: Uint8Array[] = [];
    let bytes = 0;
    let isRight = false;
    const end = (received: number | undefined, isForeign: boolean): void => {
      this.posts.delete(exchange);
      if (this.isOver) return;
      settle(received);
      this.notePost(received !== undefined, isForeign);
      this.handleAppended();
    };
    const handler: AnswerHandler = {
      handleHead: (status, header) => {
        this.heardAt = this.clock.now();
        isRight = isRelays(status, header);
      },
      handleBody: (chunk) => {
        if (bytes < MAX_UP_ANSWER_BYTES) parts.push(chunk);
        bytes += chunk.length;
      },
      handleEnd: () => {
        if (this.isOver) return;
        const received = isRight ? this.readUpAnswer(joined(parts), sentAt) : undefined;
        if (received === 'ended') return this.handleEnded();
        end(received, received === undefined);
      },
      handleFault: () => end(undefined, false),
    };
    let exchange = NO_EXCHANGE;
    exchange = this.options.requester.request({ method: 'POST', url, body: pieces }, handler);
    this.posts.set(exchange, { body, until: sentAt + limitMs, giveUp: () => end(undefined, false) });
  }

  private readUpAnswer(bytes: Uint8Array, sentAt: number): number | 'ended' | undefined {
    const answer = decodeUpAnswer(bytes);
    if (answer === undefined || answer === 'ended') return answer;
    if (!this.sender.acknowledge(answer.received)) return undefined;
    const now = this.clock.now();
    this.up.noteAnswer(sentAt, now);
    this.down.expect(answer.sent, now - sentAt, now);
    return answer.received;
  }

  private notePost(isAnswered: boolean, isForeign: boolean): void {
    if (isAnswered) {
      this.upFailures = 0;
      this.foreign = 0;
    } else {
      this.upRetryAt = this.clock.now() + (RETRY_MS[Math.min(this.upFailures, RETRY_MS.length - 1)] ?? 0);
      this.upFailures += 1;
      if (isForeign) this.handleForeign();
    }
    // After the other end's Close, only ours was left to arrive.
    if (this.isClosing && this.hasPeerClosed && this.sender.retainedBytes === 0) this.finishClosed();
  }

  private startDown(request: DownRequest, url: string): void {
    const isOpening = url === this.options.openingUrl;
    const control = { exchange: NO_EXCHANGE };
    const now = this.clock.now();
    const answer = this.down.add(
      request,
      {
        pause: () => control.exchange.pause(),
        resume: () => control.exchange.resume(),
        abort: () => control.exchange.abort(),
      },
      now,
    );
    let isRight = false;
    control.exchange = this.options.requester.request(
      { method: 'GET', url },
      {
        handleHead: (status, header) => {
          this.heardAt = this.clock.now();
          isRight = isRelays(status, header);
          if (isRight) return;
          if (isOpening && !this.isOpen) this.refuse({ kind: 'answer', status, header });
          else this.down.handleForeign(answer, this.heardAt);
          this.handleAppended();
        },
        handleBody: (chunk) => {
          if (!isRight) return;
          this.heardAt = this.clock.now();
          this.foreign = 0;
          this.down.handleBody(answer, chunk, this.heardAt);
          if (this.clock.now() >= this.ackAt) this.handleAppended();
          else this.arm();
        },
        handleEnd: () => {
          this.down.handleEnd(answer, this.clock.now());
          this.handleAppended();
        },
        handleFault: (error) => {
          if (isOpening && !this.isOpen) this.refuse({ kind: 'failed', error });
          else this.down.handleFault(answer, this.clock.now());
          this.handleAppended();
        },
      },
    );
  }

  private refuse(fault: OpeningFault): void {
    if (this.isOver) return;
    this.fail('not opened');
    this.options.onFault(fault);
  }

  // ── time ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  private arm(): void {
    if (this.isOver) return;
    const now = this.clock.now();
    const upAt = this.isOpen && this.upRetryAt > now ? this.upRetryAt : Number.POSITIVE_INFINITY;
    const ackAt = this.isAcking ? Number.POSITIVE_INFINITY : Math.max(this.ackAt, this.upRetryAt);
    const silentMs = now - this.heardAt < PROBE_MS ? PROBE_MS : SILENCE_MS;
    const silentAt = this.isOpen ? this.heardAt + silentMs : Number.POSITIVE_INFINITY;
    let lateAt = Number.POSITIVE_INFINITY;
    for (const { until } of this.posts.values()) lateAt = Math.min(lateAt, until);
    const doubtAt = this.isOpen ? this.nextDoubt() : Number.POSITIVE_INFINITY;
    const gatherAt = this.isOpen ? Math.max(this.up.gatherUntil, this.upRetryAt) : Number.POSITIVE_INFINITY;
    const at = Math.min(silentAt, upAt, ackAt, lateAt, doubtAt, gatherAt, this.down.nextTimeout(now));
    if (this.timer !== undefined && this.timerAt <= at && this.timerAt > now) return;
    this.clock.clearTimeout(this.timer);
    this.timerAt = at;
    this.timer = undefined;
    if (at === Number.POSITIVE_INFINITY) return;
    this.timer = this.clock.setTimeout(() => this.handleTimer(), Math.max(1, at - now));
  }

  /** A probe waits for the empty request that is under way. */
  private nextDoubt(): number {
    const downAt = this.isAcking ? Number.POSITIVE_INFINITY : this.down.probeAt();
    return Math.max(Math.min(this.up.nextTimeout(this.isAcking), downAt), this.upRetryAt);
  }

  private handleTimer(): void {
    this.timer = undefined;
    const now = this.clock.now();
    if (this.isOpen && now - this.heardAt >= SILENCE_MS) return this.fail('nothing comes from the relay');
    for (const [post, { until, giveUp }] of this.posts) {
      if (now < until) continue;
      post.abort();
      this.handleFrozen();
      giveUp();
    }
    this.down.handleTimeout(now);
    this.pump();
  }
}

function isRelays(status: number, header: (name: string) => string | undefined): boolean {
  return status === 200 && (header('content-type') ?? '').toLowerCase().startsWith(CONTENT_TYPE);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [first] = parts;
  if (parts.length === 1 && first !== undefined) return first;
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let end = 0;
  for (const part of parts) {
    whole.set(part, end);
    end += part.length;
  }
  return whole;
}
