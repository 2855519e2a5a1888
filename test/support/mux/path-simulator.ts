/**
 * Two ends and a path in virtual time, for the congestion controller: each end has an event loop, a scheduler and a
 * controller, and sends as a session would. The path has a rate and a delay that change when told, and never drops: like the kernels beneath,
 * it holds what it cannot carry, and round trips grow. Deterministic: the same seed gives the same run.
 *
 * An end is woken by what arrives, handles all of it in one turn, acknowledges once, or later where that may wait, and
 * sends. Messages of one direction arrive in order, so the next event is always at the head of one of few lines, and a
 * second of 1 GB/s costs some tens of ms.
 */

import { type CongestionConfig, DEFAULT_CONGESTION_CONFIG } from '../../../src/mux/congestion/congestion-config.ts';
import { CongestionController, type SentStamp } from '../../../src/mux/congestion/congestion-controller.ts';
import { DEFAULT_RESUME_CONFIG } from '../../../src/mux/links/resume-config.ts';
import { Scheduler } from '../../../src/mux/scheduler.ts';
import { StreamState } from '../../../src/mux/stream-state.ts';
import { type Prng, prng } from '../prng.ts';
import { TARGET } from './mux-peer.ts';

/** Bytes a ms of a rate in Mbit/s. */
export const mbit = (rate: number): number => rate * 125;

/** A value that changes with time: pairs of when (ms) and what, in order, the first at 0. */
export type Schedule = readonly (readonly [at: number, value: number])[];

export interface Way {
  /** Bytes a ms. */
  readonly rate: Schedule;
  /** One way, ms. */
  readonly delay: Schedule;
  /** Each message is late by up to this much, ms; those behind it wait for it. */
  readonly jitter?: number;
  /** Messages arrive only at multiples of this, ms: a radio that sends in bunches. */
  readonly bunch?: number;
}

export interface Scenario {
  readonly down: Way;
  readonly up: Way;
  readonly until: number;
  /** Streams that always have something to send, down and up; by default 4 and none. */
  readonly downloads?: number;
  readonly uploads?: number;
  /** When downloads have something to send: 0 or 1. */
  readonly active?: Schedule;
  /** Bytes a ms that the downloads bring at most. */
  readonly appRate?: number;
  /** A small message down every so often, ms. */
  readonly echoEvery?: number;
  /**
   * Instead, one small message at a time: the program at the peer answers it, and the next follows the answer. So does
   * a person who waits for the echo, and it meets the path in step with the acknowledgements. `waits` are of both ways
   * together.
   */
  readonly echoLoop?: boolean;
  /** What a turn of an event loop takes, ms. */
  readonly turn?: (random: Prng) => number;
  readonly config?: Partial<CongestionConfig>;
  /** In flight, bytes, whatever the controller says: the algorithm switched off. */
  readonly fixedWindow?: number;
  /** Small messages wait for their turn of the window, as bulk does. */
  readonly quietWaits?: boolean;
  /** Acknowledgements do not say when they were written. */
  readonly withoutReceiveTimes?: boolean;
  /** Which acknowledgements wait for something to go along with: by default those that the sender lets wait. */
  readonly waiting?: 'none' | 'all';
  readonly seed?: number;
}

/** What was delivered at a time. */
export interface Delivery {
  readonly at: number;
  readonly bytes: number;
}

export interface Run {
  readonly scenario: Scenario;
  /** Payload of downloads as it was handled. */
  readonly deliveries: readonly Delivery[];
  readonly uploaded: readonly Delivery[];
  /** How much longer than on an empty path each small message was on its way, ms, by when it was written. */
  readonly waits: readonly (readonly [at: number, wait: number])[];
  /** Largest number of bytes in flight. */
  readonly peakInFlight: number;
  readonly controller: CongestionController;
  /** Messages either way that said nothing but what has come. */
  readonly bareAcknowledgements: number;
}

const ECHO_BYTES = 64;
/** What a program takes to answer a small message, ms. */
const PROGRAM_MS = 0.1;
/** What quiet streams may have in flight beyond the window, or one frame if that is more. */
const URGENT_BYTES = 4096;
/** Sealing, framing and the WebSocket's header, of a record. */
export const RECORD_OVERHEAD = 32;
const ACK_BYTES = 40;
/** An acknowledgement that may wait goes alone after this long, ms. */
const ACK_WAIT_MS = DEFAULT_RESUME_CONFIG.ackWaitMs;
const SEGMENT = 1448;
const SEGMENT_OVERHEAD = 52;

const wireBytes = (bytes: number): number => bytes + Math.ceil(bytes / SEGMENT) * SEGMENT_OVERHEAD;

/** What plain TCP carries of a rate. */
export const PLAIN_SHARE = SEGMENT / (SEGMENT + SEGMENT_OVERHEAD);

function valueAt(schedule: Schedule, at: number): number {
  let value = 0;
  for (const [from, next] of schedule) {
    if (from > at) break;
    value = next;
  }
  return value;
}

/** When a message that starts at `at` has passed the bottleneck. */
function servedAt(rate: Schedule, at: number, bytes: number): number {
  let left = bytes;
  let now = at;
  for (let i = 0; i < rate.length; i++) {
    const until = rate[i + 1]?.[0] ?? Number.POSITIVE_INFINITY;
    if (until <= now) continue;
    const speed = rate[i]?.[1] ?? 0;
    const done = now + left / speed;
    if (done <= until) return done;
    left -= (until - now) * speed;
    now = until;
  }
  return Number.POSITIVE_INFINITY;
}

/** When a small message arrives that is written to an empty path. */
function aloneAt({ rate, delay }: Way, written: number): number {
  return servedAt(rate, written, wireBytes(ECHO_BYTES + RECORD_OVERHEAD)) + valueAt(delay, written);
}

const NO_STAMP: SentStamp = { at: 0, mayWait: false };

interface Message {
  arrives: number;
  /** Of a record: bytes that count as in flight. */
  readonly bytes: number;
  readonly stamp: SentStamp;
  readonly payload: number;
  readonly mayWait: boolean;
  readonly echoes: readonly number[];
  /** Acknowledged with it. */
  readonly acked: number;
  readonly ackedStamp: SentStamp;
  readonly ackedAt: number;
}

class Line {
  private readonly messages: Message[] = [];
  private head = 0;
  private freeAt = 0;
  private lastArrival = 0;

  constructor(
    private readonly way: Way,
    private readonly random: Prng,
  ) {}

  push(message: Message, wire: number, now: number): void {
    this.freeAt = servedAt(this.way.rate, Math.max(now, this.freeAt), wire);
    let at = this.freeAt + valueAt(this.way.delay, this.freeAt);
    if (this.way.jitter) at += (this.random.below(1000) / 1000) * this.way.jitter;
    if (this.way.bunch) at = Math.ceil(at / this.way.bunch) * this.way.bunch;
    this.lastArrival = Math.max(at, this.lastArrival);
    message.arrives = this.lastArrival;
    this.messages.push(message);
  }

  get nextAt(): number {
    return this.messages[this.head]?.arrives ?? Number.POSITIVE_INFINITY;
  }

  take(now: number): Message | undefined {
    const message = this.messages[this.head];
    if (!message || message.arrives > now) return undefined;
    this.head += 1;
    if (this.head > 1000) {
      this.messages.splice(0, this.head);
      this.head = 0;
    }
    return message;
  }
}

/** What the other end's clock is ahead, ms. */
const CLOCK_OFFSET = 123_456;

const REFILL = new Uint8Array(2 * 1024 * 1024);

class End {
  readonly controller: CongestionController;
  readonly deliveries: Delivery[] = [];
  readonly waits: (readonly [number, number])[] = [];
  peakInFlight = 0;
  freeAt = 0;
  /** Who is told of small messages that arrive; else they are counted. */
  onEcho: ((now: number) => void) | undefined;
  private readonly scheduler = new Scheduler<StreamState>();
  private readonly bulk: StreamState[] = [];
  private readonly echo = new StreamState(0, 'tcp', TARGET, 'open');
  private echoes: number[] = [];
  private unacked = 0;
  private unackedStamp = NO_STAMP;
  private unackedAt = 0;
  /** When what is unacknowledged is acknowledged alone. */
  private ackAt = Number.POSITIVE_INFINITY;
  /** Messages that said nothing but what has come. */
  bareAcknowledgements = 0;
  private readonly scenario: Scenario;
  private readonly active: Schedule;
  private brought = 0;

  constructor(
    scenario: Scenario,
    private readonly out: Line,
    private readonly incoming: Line,
    private readonly inWay: Way,
    streams: number,
    active: Schedule,
    private readonly random: Prng,
  ) {
    this.scenario = scenario;
    this.active = active;
    const config = { ...DEFAULT_CONGESTION_CONFIG, headerBytes: RECORD_OVERHEAD, ...scenario.config };
    this.controller = new CongestionController(config, 0);
    this.echo.sendCredit = Number.MAX_SAFE_INTEGER;
    for (let i = 0; i < streams; i++) {
      const stream = new StreamState(i + 1, 'tcp', TARGET, 'open');
      stream.sendCredit = Number.MAX_SAFE_INTEGER;
      this.bulk.push(stream);
    }
  }

  /** When the loop will next handle what arrives. */
  get nextTurn(): number {
    return Math.max(Math.min(this.incoming.nextAt, this.ackAt), this.freeAt);
  }

  writeEcho(now: number): void {
    this.echoes.push(now);
    this.echo.queue.push(REFILL.subarray(0, ECHO_BYTES));
    this.scheduler.add(this.echo);
    this.flush(now);
  }

  turn(now: number): void {
    for (let message = this.incoming.take(now); message; message = this.incoming.take(now)) this.receive(message, now);
    this.flush(now);
    this.freeAt = now + (this.scenario.turn?.(this.random) ?? 0.05);
  }

  private receive(message: Message, now: number): void {
    if (message.acked > 0) {
      const receivedAt = this.scenario.withoutReceiveTimes ? undefined : message.ackedAt;
      this.controller.onAcked(message.acked, message.ackedStamp, now, receivedAt);
    }
    if (message.bytes === 0) return;
    this.controller.onReceived(message.bytes);
    this.unacked += message.bytes;
    this.unackedStamp = message.stamp;
    this.unackedAt = now + CLOCK_OFFSET;
    this.ackAt = Math.min(this.ackAt, message.mayWait ? now + ACK_WAIT_MS : now);
    if (message.payload > 0) this.deliveries.push({ at: now, bytes: message.payload });
    for (const written of message.echoes) {
      if (this.onEcho) this.onEcho(now);
      else this.waits.push([written, Math.max(0, now - aloneAt(this.inWay, written))]);
    }
  }

  flush(now: number): void {
    this.refill(now);
    for (;;) {
      const { inFlightBytes } = this.controller;
      const window = this.scenario.fixedWindow ?? this.controller.window(now);
      const full = inFlightBytes >= window;
      const frame = this.controller.frameBytes();
      const urgent = this.scheduler.hasQuiet && !this.scenario.quietWaits;
      const passes = this.scenario.fixedWindow ?? this.controller.urgentWindow();
      if (full && !(urgent && inFlightBytes < passes + Math.max(frame, URGENT_BYTES))) break;
      if (!this.sendRecord(now, frame, full)) break;
    }
    if (now < this.ackAt) return;
    this.bareAcknowledgements += 1;
    this.send(now, 0, 0, []);
  }

  private sendRecord(now: number, frame: number, onlyQuiet: boolean): boolean {
    let room = frame;
    let payload = 0;
    let echoes: number[] = [];
    while (room > 0) {
      const stream = onlyQuiet ? this.scheduler.nextQuiet(frame) : this.scheduler.next(frame);
      if (!stream) break;
      const bytes = Math.min(stream.queue.bytes, this.scheduler.turnBytes(stream), room);
      stream.queue.take(bytes, () => {});
      this.scheduler.endTurn(stream, bytes);
      room -= bytes;
      if (stream === this.echo) [echoes, this.echoes] = [this.echoes, []];
      else payload += bytes;
    }
    if (room === frame) {
      if (!onlyQuiet) this.controller.onAppLimited();
      return false;
    }
    this.send(now, frame - room + RECORD_OVERHEAD, payload, echoes);
    return true;
  }

  private send(now: number, bytes: number, payload: number, echoes: readonly number[]): void {
    const { waiting } = this.scenario;
    const mayWait = waiting === 'all' || (waiting === undefined && this.controller.mayWait(bytes, now));
    const stamp = bytes > 0 ? this.controller.onSent(bytes, now, mayWait) : NO_STAMP;
    this.peakInFlight = Math.max(this.peakInFlight, this.controller.inFlightBytes);
    const acked = { acked: this.unacked, ackedStamp: this.unackedStamp, ackedAt: this.unackedAt };
    const message = { arrives: 0, bytes, stamp, payload, mayWait, echoes, ...acked };
    this.unacked = 0;
    this.ackAt = Number.POSITIVE_INFINITY;
    this.out.push(message, wireBytes(Math.max(bytes, ACK_BYTES)), now);
  }

  private refill(now: number): void {
    if (valueAt(this.active, now) === 0) {
      for (const stream of this.bulk) stream.queue.clear();
      return;
    }
    const { appRate } = this.scenario;
    if (appRate !== undefined) return this.bring(appRate * now - this.brought);
    for (const stream of this.bulk) {
      while (stream.queue.bytes < REFILL.length) stream.queue.push(REFILL);
      this.scheduler.add(stream);
    }
  }

  private bring(bytes: number): void {
    const stream = this.bulk[0];
    if (!stream || bytes < 1) return;
    this.brought += Math.floor(bytes);
    stream.queue.push(new Uint8Array(Math.floor(bytes)));
    this.scheduler.add(stream);
  }
}

/** See `Scenario.echoLoop`. */
class EchoLoop {
  readonly waits: (readonly [number, number])[] = [];
  /** When the next message is written, and by whom. */
  at: number;
  private writer: End;
  private begunAt: number;

  constructor(exit: End, client: End, { down, up }: Scenario, at: number) {
    this.at = at;
    this.begunAt = at;
    this.writer = exit;
    client.onEcho = (now) => this.plan(client, now);
    exit.onEcho = (now) => {
      const alone = aloneAt(up, aloneAt(down, this.begunAt) + PROGRAM_MS);
      this.waits.push([this.begunAt, Math.max(0, now - alone)]);
      this.plan(exit, now);
      this.begunAt = this.at;
    };
  }

  write(): void {
    const now = this.at;
    this.at = Number.POSITIVE_INFINITY;
    this.writer.writeEcho(now);
  }

  private plan(writer: End, now: number): void {
    this.writer = writer;
    this.at = now + PROGRAM_MS;
  }
}

export function simulate(scenario: Scenario): Run {
  const random = prng(scenario.seed ?? 1);
  const [down, up] = [new Line(scenario.down, random), new Line(scenario.up, random)];
  const always: Schedule = [[0, 1]];
  const active = scenario.active ?? always;
  const exit = new End(scenario, down, up, scenario.up, scenario.downloads ?? 4, active, random);
  const client = new End(scenario, up, down, scenario.down, scenario.uploads ?? 0, always, random);
  const echoEvery = scenario.echoEvery ?? Number.POSITIVE_INFINITY;
  const wakes = (scenario.active ?? []).map(([at]) => at).filter((at) => at > 0);
  exit.flush(0);
  client.flush(0);
  const loop = scenario.echoLoop ? new EchoLoop(exit, client, scenario, echoEvery) : undefined;
  let echoAt = loop ? Number.POSITIVE_INFINITY : echoEvery;
  let appAt = scenario.appRate === undefined ? Number.POSITIVE_INFINITY : 1;
  for (;;) {
    const wakeAt = wakes[0] ?? Number.POSITIVE_INFINITY;
    const loopAt = loop?.at ?? Number.POSITIVE_INFINITY;
    const now = Math.min(exit.nextTurn, client.nextTurn, echoAt, loopAt, appAt, wakeAt);
    if (now > scenario.until) break;
    if (now === wakeAt) {
      wakes.shift();
      exit.flush(now);
    } else if (now === loopAt) loop?.write();
    else if (now === echoAt) {
      exit.writeEcho(now);
      echoAt += echoEvery * (0.5 + random.below(1000) / 1000);
    } else if (now === appAt) {
      exit.flush(now);
      appAt += 1;
    } else if (now === exit.nextTurn) exit.turn(now);
    else client.turn(now);
  }
  return {
    scenario,
    deliveries: client.deliveries,
    uploaded: exit.deliveries,
    waits: loop?.waits ?? client.waits,
    peakInFlight: exit.peakInFlight,
    controller: exit.controller,
    bareAcknowledgements: exit.bareAcknowledgements + client.bareAcknowledgements,
  };
}

/** Payload delivered between two times, as a share of what plain TCP would carry. */
export function utilisation(deliveries: readonly Delivery[], rate: number, from: number, to: number): number {
  let bytes = 0;
  for (const delivery of deliveries) if (delivery.at >= from && delivery.at < to) bytes += delivery.bytes;
  return bytes / ((to - from) * rate * PLAIN_SHARE);
}

/** Of the waits of small messages written in a span of time, ms. */
export function waitAt(run: Run, share: number, from: number, to = Number.POSITIVE_INFINITY): number {
  const waits = run.waits.filter(([at]) => at >= from && at < to).map(([, wait]) => wait);
  waits.sort((a, b) => a - b);
  return waits[Math.min(waits.length - 1, Math.floor(share * waits.length))] ?? Number.NaN;
}
