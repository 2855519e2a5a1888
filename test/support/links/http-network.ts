/**
 * A network and a relay for the client's half of an HTTP link, in virtual time: connections that are used again, an
 * uplink of a given speed that they share, and connections that freeze, are cut, or are held.
 */
import { BlockReader } from '../../../src/transport/http/blocks.ts';
import type {
  AnswerHandler,
  HttpExchange,
  HttpRequester,
  LinkHttpRequest,
} from '../../../src/transport/http/http-requester.ts';
import {
  decodeRequest,
  encodeDownHead,
  encodeUpAnswer,
  type LinkRequest,
} from '../../../src/transport/http/link-requests.ts';
import { Reassembly } from '../../../src/transport/http/reassembly.ts';
import { StreamSender } from '../../../src/transport/http/stream-sender.ts';
import type { VirtualClock } from '../time/virtual-clock.ts';

const ONE_WAY_MS = 20;
const SEGMENT_BYTES = 4_096;
const WINDOW_BYTES = 1_048_576;
const AHEAD_MS = 2_000;
const PAUSE_BETWEEN_WRITES_MS = 10;

export type Incident = 'freeze' | 'cut' | 'hold' | 'none';

class Connection {
  isFrozen = false;
  isCut = false;
  isTrusted = true;
  isBusy = false;
  heldUntil = 0;
  /** Of the request on it. */
  onCut = (): void => {};

  constructor(private readonly clock: VirtualClock) {}

  /** Runs it after a way, unless the connection has ended by then; later where it is held. */
  pass(action: () => void, afterMs = ONE_WAY_MS): void {
    this.clock.setTimeout(() => {
      const waitMs = this.heldUntil - this.clock.now();
      if (this.isCut || this.isFrozen) return;
      if (waitMs > 0) this.pass(action, waitMs);
      else action();
    }, afterMs);
  }
}

export interface HttpNetworkOptions {
  readonly clock: VirtualClock;
  uplinkBytesPerSecond?: number;
  /** Answers to *down* reach the client only once they are complete. */
  holdsAnswers?: boolean;
}

export class HttpNetwork implements HttpRequester {
  /** Bytes of bodies that were put on the uplink, repeated ones included. */
  sentBytes = 0;
  /** Requests by kind. */
  readonly counts = { up: 0, down: 0, poll: 0, close: 0 };
  /** Messages that reached the relay. */
  readonly received: Uint8Array[] = [];
  private readonly connections = new Set<Connection>();
  private readonly intake: Reassembly;
  private readonly sender = new StreamSender();
  private sent = 0;
  private served: Served | undefined;
  private uplinkFreeAt = 0;

  /** @param options may be changed later */
  constructor(private readonly options: HttpNetworkOptions) {
    const reader = new BlockReader({
      readsOnly: false,
      readMessage: () => {},
      handleMessage: (bytes) => void this.received.push(bytes),
      handleClose: () => {},
    });
    this.intake = new Reassembly((bytes) => void reader.read(bytes));
  }

  /** Any further request, as the payload that its path holds: it is not sealed here. */
  static urlOf(payload: Uint8Array): string {
    return Buffer.from(payload).toString('base64url');
  }

  get upReceived(): number {
    return this.intake.next;
  }

  /** To every connection that exists now. */
  strike(choose: () => Incident, holdMs: number): void {
    for (const connection of this.connections) {
      const incident = choose();
      if (incident === 'freeze') connection.isFrozen = true;
      else if (incident === 'hold') connection.heldUntil = this.options.clock.now() + holdMs;
      else if (incident === 'cut') this.cut(connection);
    }
  }

  /** From the relay. */
  send(message: Uint8Array): void {
    this.sender.appendMessage([message], message.length);
    this.serve();
  }

  // ── HttpRequester ──────────────────────────────────────────────────────────────────────────────────────────────────

  request({ url, body = [] }: LinkHttpRequest, handler: AnswerHandler): HttpExchange {
    const connection = this.connectionFor();
    const opening: LinkRequest = { kind: 'down', sequence: 1, offset: 0, received: 0, waitMs: 0 };
    const request = url === 'opening' ? opening : decodeRequest(Buffer.from(url, 'base64url'))!;
    this.counts[request.kind] += 1;
    const end = (finish: () => void): void => {
      if (!connection.isBusy) return;
      connection.isBusy = false;
      if (!connection.isTrusted) this.connections.delete(connection);
      finish();
    };
    connection.onCut = () => end(() => handler.handleFault(new Error('cut')));
    const answer: Answer = {
      write: (bytes) => connection.pass(() => handler.handleBody(bytes)),
      end: () => connection.pass(() => end(() => handler.handleEnd())),
      head: () => connection.pass(() => handler.handleHead(200, () => 'application/octet-stream')),
    };
    if (request.kind === 'up') this.upload(connection, request, Buffer.concat(body), answer);
    else connection.pass(() => this.download(request, this.options.holdsAnswers ? held(answer) : answer));
    const abort = (): void => {
      connection.isBusy = false;
      connection.isCut = true;
      this.connections.delete(connection);
    };
    return { pause: () => {}, resume: () => {}, abort };
  }

  distrust(): void {
    for (const connection of this.connections) {
      connection.isTrusted = false;
      if (!connection.isBusy) this.connections.delete(connection);
    }
  }

  close(): void {
    this.connections.clear();
  }

  private connectionFor(): Connection {
    const idle = [...this.connections].find(({ isBusy, isTrusted }) => !isBusy && isTrusted);
    const connection = idle ?? new Connection(this.options.clock);
    this.connections.add(connection);
    connection.isBusy = true;
    return connection;
  }

  private cut(connection: Connection): void {
    connection.isCut = true;
    this.connections.delete(connection);
    this.options.clock.setTimeout(() => connection.onCut(), 1);
  }

  // ── the relay ──────────────────────────────────────────────────────────────────────────────────────────────────────

  private upload(connection: Connection, request: LinkRequest, body: Uint8Array, answer: Answer): void {
    const { clock, uplinkBytesPerSecond = Number.POSITIVE_INFINITY } = this.options;
    const from = Number(request.offset);
    const sendNext = (at: number): void => {
      const segment = body.subarray(at, at + SEGMENT_BYTES);
      this.sentBytes += segment.length;
      const tookMs = (segment.length * 1_000) / uplinkBytesPerSecond;
      this.uplinkFreeAt = Math.max(this.uplinkFreeAt, clock.now()) + tookMs;
      const waitMs = this.uplinkFreeAt - clock.now();
      connection.pass(() => this.intake.take(from + at, segment.slice(), WINDOW_BYTES), waitMs + ONE_WAY_MS);
      if (at + SEGMENT_BYTES < body.length) connection.pass(() => sendNext(at + SEGMENT_BYTES), waitMs);
      else
        connection.pass(() => this.finishUpload(connection, request, from + body.length, answer), waitMs + ONE_WAY_MS);
    };
    sendNext(0);
  }

  private finishUpload(connection: Connection, request: LinkRequest, to: number, answer: Answer): void {
    const since = this.options.clock.now();
    this.sender.acknowledge(request.received);
    this.serve();
    const isEmpty = to === request.offset;
    const look = (): void => {
      if (!isEmpty && this.intake.next < to && this.options.clock.now() - since < AHEAD_MS) {
        this.options.clock.setTimeout(look, 20);
        return;
      }
      answer.head();
      answer.write(encodeUpAnswer({ received: this.intake.next, sent: this.sent }, 64));
      answer.end();
    };
    if (!connection.isCut) look();
  }

  private download(request: LinkRequest, answer: Answer): void {
    this.endServed();
    this.sender.acknowledge(request.received);
    if (request.offset !== 'all-ones') this.sent = Math.max(request.offset, this.sender.acknowledged);
    const served: Served = { answer, isPoll: request.kind === 'poll' };
    this.served = served;
    answer.head();
    answer.write(encodeDownHead(this.sent));
    if (served.isPoll) this.options.clock.setTimeout(() => this.served === served && this.endServed(), request.waitMs);
    else if (this.sender.end === this.sent) this.sender.appendPadding(2_048);
    this.serve();
  }

  private endServed(): void {
    this.served?.answer.end();
    this.served = undefined;
  }

  /** A part every few ms, as a network brings it. */
  private serve(): void {
    const { served } = this;
    if (served === undefined || served.isWriting) return;
    const to = Math.min(this.sender.end, this.sender.acknowledged + WINDOW_BYTES, this.sent + 65_536);
    if (to <= this.sent) return;
    for (const piece of this.sender.view(this.sent, to).pieces) served.answer.write(piece.slice());
    this.sent = to;
    if (served.isPoll) return this.endServed();
    served.isWriting = true;
    this.options.clock.setTimeout(() => {
      served.isWriting = false;
      this.serve();
    }, PAUSE_BETWEEN_WRITES_MS);
  }
}

interface Answer {
  head(): void;
  write(bytes: Uint8Array): void;
  end(): void;
}

interface Served {
  readonly answer: Answer;
  readonly isPoll: boolean;
  isWriting?: boolean;
}

function held(answer: Answer): Answer {
  const parts: Uint8Array[] = [];
  const end = (): void => {
    answer.head();
    for (const part of parts) answer.write(part);
    answer.end();
  };
  return { head: () => {}, write: (bytes) => void parts.push(bytes), end };
}
