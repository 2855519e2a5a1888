/**
 * Which bytes of the up stream the client's next *up* request carries, and of what size: what was lost first, then what
 * is new. Pure, time passed in.
 */
import type { AnswerTimes } from './answer-times.ts';
import { paddingFor } from './blocks.ts';
import {
  BODY_FAST_MS,
  BODY_SLOW_MS,
  FIRST_BODY_BYTES,
  MAX_BODY_BYTES,
  MAX_SPREAD_MS,
  MAX_UPS,
  MIN_BODY_BYTES,
  NEXT_BODY_BYTES,
  NEXT_BODY_MS,
  SMALL_BODY_BYTES,
  WINDOW_BYTES,
} from './http-limits.ts';
import type { StreamSender } from './stream-sender.ts';

/** Of the up stream, from one offset to another. The fields that change are the schedule's. */
export interface UpBody {
  readonly from: number;
  readonly to: number;
  readonly sentAt: number;
  /** How often its first byte was sent before because a request was doubtful. */
  readonly repeats: number;
  /** One that was sent later, and is not much smaller, was answered. */
  isOvertaken: boolean;
  /** It made no progress, and its bytes are sent again while it goes on. */
  isDoubted: boolean;
  /** Empty requests that asked for its progress. */
  probes: number;
  /** Its answer waits for no other request, as far as is known: its time says what the path carries. */
  isTelling: boolean;
}

/** Empty requests ask less often for the progress of one that is slow. */
const MAX_PROBE_DOUBLINGS = 1;

/** Of those that may be under way: then one is free when the next is due although some take longer. */
const SPREAD_SHARE = 0.9;
/** So many may leave early after a pause. */
const EARLY_BODIES = 2;

/** To be sent again, or held by the relay as it seems. */
interface Range {
  from: number;
  readonly to: number;
  readonly repeats: number;
}

export class UpSchedule {
  private readonly underWay = new Set<UpBody>();
  /** To be sent again; the lowest first. */
  private lost: Range[] = [];
  /** Answered while bytes before them were missing: the relay holds them, or has dropped some. */
  private ahead: Range[] = [];
  private nextNew = 0;
  private bodyBytes = FIRST_BODY_BYTES;
  /** When the last request began. */
  private startedAt = 0;
  /** When the next small one is due if they are spread evenly. */
  private paceAt = 0;
  /** When the relay had more than before, and when the newest request that it has answered was sent. */
  private progress = { at: 0, offset: 0, answeredSentAt: Number.NEGATIVE_INFINITY };

  /** @param mostBodies requests that may be under way, MAX_UPS at least: more than that only if they are small */
  constructor(
    private readonly sender: StreamSender,
    private readonly times: AnswerTimes,
    private readonly mostBodies = MAX_UPS,
  ) {}

  /** Appended and in no request yet. */
  get unsentBytes(): number {
    return this.sender.end - this.nextNew;
  }

  get requestsUnderWay(): number {
    return this.underWay.size;
  }

  /** Where the body of an empty request begins. */
  get position(): number {
    return this.nextNew;
  }

  /** The size of a large body at the moment, for tests. */
  get targetBytes(): number {
    return this.bodyBytes;
  }

  /** What to send now; undefined if there is nothing, or enough is under way. */
  poll(now: number): UpBody | undefined {
    if (this.underWay.size >= this.mostUnderWay) return undefined;
    const range = this.nextLost() ?? this.nextFresh(now);
    if (range === undefined) return undefined;
    this.startedAt = now;
    this.notePace(now);
    const isTelling = this.lost.length === 0 && !this.hasDoubted;
    const body = { repeats: 0, ...range, sentAt: now, isOvertaken: false, isDoubted: false, probes: 0, isTelling };
    this.underWay.add(body);
    return body;
  }

  /**
   * Any *up* request was answered, with a body or not; before `handleAnswer`. What the relay has is acknowledged at the
   * sender already.
   */
  noteAnswer(sentAt: number, now: number): void {
    const { acknowledged } = this.sender;
    const { progress } = this;
    progress.answeredSentAt = Math.max(progress.answeredSentAt, sentAt);
    if (acknowledged <= progress.offset) return;
    progress.offset = acknowledged;
    progress.at = now;
    if (this.ahead.length === 0) return;
    // What the relay holds it delivers at once: what it has not got by now, it has dropped.
    const { ahead } = this;
    this.ahead = ahead.filter(({ from }) => from > acknowledged);
    for (const { from, to, repeats } of ahead) if (from <= acknowledged) this.markLost(acknowledged, to, repeats);
  }

  /** @param received what the relay has, already acknowledged at the sender */
  handleAnswer(body: UpBody, received: number, now: number): void {
    if (!this.underWay.delete(body)) return;
    const bytes = body.to - body.from;
    const took = now - body.sentAt;
    this.noteOvertaken(body, bytes);
    if (body.isDoubted) return;
    if (received < body.from) {
      this.ahead.push({ from: body.from, to: body.to, repeats: body.repeats });
    } else if (received < body.to) {
      this.markLost(received, body.to, body.repeats);
    } else {
      if (body.isTelling) this.times.note(bytes, took);
      this.resize(body, took);
    }
  }

  /** The request got no answer, or none of the relay. */
  handleLost(body: UpBody): void {
    if (!this.underWay.delete(body) || body.isDoubted) return;
    this.markLost(body.from, body.to, body.repeats);
    this.bodyBytes = Math.max(MIN_BODY_BYTES, Math.floor(this.bodyBytes / 2));
  }

  // ── requests that make no progress ─────────────────────────────────────────────────────────────────────────────────

  /** Sends again what is on connections that seem to carry nothing. True: there was some. */
  doubt(now: number): boolean {
    let hasDoubted = false;
    for (const body of this.underWay) {
      if (body.isDoubted || !this.isProvenLate(body) || now < this.sinceOf(body) + this.patienceFor(body)) continue;
      body.isDoubted = true;
      hasDoubted = true;
      this.markLost(Math.max(body.from, this.sender.acknowledged), body.to, body.repeats + 1);
    }
    return hasDoubted;
  }

  /** Takes the place of others when there is something to send and no room: the oldest doubted one. To be aborted. */
  takeSurplus(): UpBody | undefined {
    if (this.underWay.size < this.mostUnderWay || (this.lost.length === 0 && this.unsentBytes === 0)) return undefined;
    for (const body of this.underWay) {
      if (!body.isDoubted) continue;
      this.underWay.delete(body);
      return body;
    }
    return undefined;
  }

  /** An empty request is to ask for the progress of the oldest body: nothing else has said it. */
  isProbeDue(now: number): boolean {
    return now >= this.probeAt();
  }

  handleProbe(): void {
    const head = this.headUnderWay();
    if (head !== undefined) head.probes += 1;
  }

  /** When `doubt` has something to do, or a probe is due. @param mayNotProbe none can be sent now */
  nextTimeout(mayNotProbe: boolean): number {
    let at = mayNotProbe ? Number.POSITIVE_INFINITY : this.probeAt();
    for (const body of this.underWay) {
      if (!body.isDoubted && this.isProvenLate(body)) at = Math.min(at, this.sinceOf(body) + this.patienceFor(body));
    }
    return at;
  }

  private probeAt(): number {
    const head = this.headUnderWay();
    if (head === undefined || this.isProvenLate(head)) return Number.POSITIVE_INFINITY;
    return this.sinceOf(head) + (this.patienceFor(head) / 2) * 2 ** Math.min(head.probes, MAX_PROBE_DOUBLINGS);
  }

  private get hasDoubted(): boolean {
    for (const { isDoubted } of this.underWay) if (isDoubted) return true;
    return false;
  }

  /** The one with the first byte that the relay lacks. Only its progress shows in answers. */
  private headUnderWay(): UpBody | undefined {
    for (const body of this.underWay) if (!body.isDoubted && this.isHead(body)) return body;
    return undefined;
  }

  private isHead({ from, to }: UpBody): boolean {
    return from <= this.sender.acknowledged && this.sender.acknowledged < to;
  }

  private sinceOf(body: UpBody): number {
    return this.isHead(body) ? Math.max(body.sentAt, this.progress.at) : body.sentAt;
  }

  private patienceFor(body: UpBody): number {
    // Each byte of the first one shows in answers: its size does not matter.
    return this.times.doubtMs(this.isHead(body) ? 0 : body.to - body.from, body.repeats);
  }

  /** The relay is there, and answers what was sent later. */
  private isProvenLate(body: UpBody): boolean {
    if (body.isOvertaken) return true;
    const askedAt = this.sinceOf(body) + this.patienceFor(body) / 4;
    return this.isHead(body) && this.progress.answeredSentAt >= askedAt;
  }

  private noteOvertaken(answered: UpBody, bytes: number): void {
    for (const body of this.underWay) {
      if (body.sentAt < answered.sentAt && bytes * 2 >= body.to - body.from) body.isOvertaken = true;
    }
  }

  // ── what comes next ────────────────────────────────────────────────────────────────────────────────────────────────

  private resize({ from, to, isTelling }: UpBody, took: number): void {
    const bytes = to - from;
    if (bytes * 2 < this.bodyBytes) return;
    if (took > BODY_SLOW_MS && isTelling)
      this.bodyBytes = Math.max(MIN_BODY_BYTES, Math.floor((bytes * BODY_SLOW_MS) / took));
    else if (took < BODY_FAST_MS) this.bodyBytes = Math.min(MAX_BODY_BYTES, this.bodyBytes * 2);
  }

  private nextLost(): Range | undefined {
    const { acknowledged } = this.sender;
    while (this.lost[0] !== undefined && this.lost[0].to <= acknowledged) this.lost.shift();
    const [first] = this.lost;
    if (first === undefined) return undefined;
    const from = Math.max(first.from, acknowledged);
    const to = Math.min(first.to, from + this.bodyBytes);
    if (to === first.to) this.lost.shift();
    else first.from = to;
    return { from, to, repeats: first.repeats };
  }

  /** When what waits is sent although it is little; Infinity: nothing waits for that. */
  get gatherUntil(): number {
    const waits = this.unsentBytes > 0 && this.underWay.size > 0 && this.underWay.size < this.mostUnderWay;
    return waits ? this.gatheredAt : Number.POSITIVE_INFINITY;
  }

  /**
   * Requests that all leave at once are all answered at once, and what comes meanwhile waits for that: acknowledgements
   * would come in bursts. So they are spread over the time that one takes, but for the first after a pause.
   */
  private get gatheredAt(): number {
    return Math.max(this.startedAt + NEXT_BODY_MS, this.paceAt - EARLY_BODIES * this.spacingMs);
  }

  private get spacingMs(): number {
    return Math.min(MAX_SPREAD_MS, this.times.usualMs / (SPREAD_SHARE * this.mostBodies));
  }

  /** Never further ahead than one more would wait for: where requests were slow, the next may be quick. */
  private notePace(now: number): void {
    const { spacingMs } = this;
    this.paceAt = Math.min(Math.max(this.paceAt, now) + spacingMs, now + (EARLY_BODIES + 1) * spacingMs);
  }

  /** What is sent again, and large bodies, must not take more connections. */
  private get mostUnderWay(): number {
    const isUsual = this.lost.length === 0 && this.unsentBytes <= SMALL_BODY_BYTES && !this.hasDoubted;
    return isUsual ? this.mostBodies : MAX_UPS;
  }

  private mustGather(waiting: number, now: number): boolean {
    const isLittle = waiting < Math.min(NEXT_BODY_BYTES, this.bodyBytes);
    return isLittle && this.underWay.size > 0 && now < this.gatheredAt;
  }

  private nextFresh(now: number): { from: number; to: number } | undefined {
    const { sender } = this;
    const waiting = sender.end - this.nextNew;
    if (this.mustGather(waiting, now)) return undefined;
    const room = WINDOW_BYTES - (this.nextNew - sender.acknowledged);
    if (waiting <= 0 || room <= 0) return undefined;
    // Only after the last message: padding between others would be of no use.
    const padding = waiting < this.bodyBytes ? paddingFor(waiting) : 0;
    if (padding > 0) sender.appendPadding(padding);
    const from = this.nextNew;
    this.nextNew = Math.min(sender.end, from + Math.min(this.bodyBytes, room));
    return { from, to: this.nextNew };
  }

  private markLost(from: number, to: number, repeats: number): void {
    if (from >= to) return;
    for (const body of this.underWay) body.isTelling = false;
    this.lost.push({ from, to, repeats });
    this.lost.sort((a, b) => a.from - b.from);
  }
}
