/**
 * Streams of DNS messages (docs/protocol.md §7.1): takes queries as they come, has many answered at a time, and sends
 * each answer when it is there (RFC 7766 §6.2.1.1, §7).
 */
import { setMaxListeners } from 'node:events';
import { framed, MessageReader } from '../../dns/framing.ts';
import { failure, judge } from '../../dns/query.ts';
import { RCODE } from '../../dns/wire.ts';
import { WstunError } from '../../errors.ts';
import { release } from '../../memory/pieces.ts';
import type { Logger } from '../../observability/logger.ts';
import type { OfferedStream, TunnelStream } from '../../tunnel/stream/stream.ts';
import type { Rule } from '../rules.ts';
import type { Traffic, TrafficShare } from '../traffic.ts';
import type { Answerer } from './answerer.ts';

/** Of one stream; beyond, its queries wait. */
const MAX_ASKED = 256;
/** Of one access entry, and of all; beyond, SERVFAIL: each has a socket. Names that nobody answers take seconds. */
const MAX_ASKED_OF_PEER = 256;
const MAX_ASKED_OF_ALL = 1_024;
/** Of one access entry: a client needs one. */
const MAX_STREAMS_OF_PEER = 16;
/** Answers that the client does not take: beyond, they are dropped. Bytes. */
const MAX_UNSENT_BYTES = 256 * 1024;

interface ResolverStreamsOptions {
  readonly answerer: Answerer;
  readonly traffic: Traffic;
  /** The current rules of an access entry: asked for each query. */
  readonly rulesFor: (peer: string) => readonly Rule[];
  readonly isOverloaded: () => boolean;
  readonly logger: Logger;
}

export class ResolverStreams {
  private readonly streams = new Map<string, number>();
  private readonly askedBy = new Map<string, number>();
  private asked = 0;

  constructor(private readonly options: ResolverStreamsOptions) {}

  /** Until nothing of it is left. Rejects, before it is accepted, with the fault that the peer is told. */
  async serve(offer: OfferedStream): Promise<void> {
    const { peer } = offer;
    const count = this.streams.get(peer) ?? 0;
    if (count >= MAX_STREAMS_OF_PEER) throw new WstunError('dial-busy', 'too many resolvers');
    this.streams.set(peer, count + 1);
    const stream = offer.accept();
    const share = this.options.traffic.begin(peer, (fault) => stream.destroy(new WstunError(fault)));
    await new ResolverStream(stream, (message, signal) => this.answer(message, peer, share, signal)).closed;
    share.end();
    const left = (this.streams.get(peer) ?? 0) - 1;
    if (left > 0) this.streams.set(peer, left);
    else this.streams.delete(peer);
  }

  private async answer(
    message: Uint8Array,
    peer: string,
    share: TrafficShare,
    signal: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    if (!share.passes('toSocket', message.length)) return undefined;
    const askedByPeer = this.askedBy.get(peer) ?? 0;
    const isTooMuch = askedByPeer >= MAX_ASKED_OF_PEER || this.asked >= MAX_ASKED_OF_ALL;
    if (isTooMuch || this.options.isOverloaded()) return busyAnswer(message);
    this.askedBy.set(peer, askedByPeer + 1);
    this.asked++;
    try {
      const answer = await this.options.answerer.answer(message, this.options.rulesFor(peer), signal);
      return answer !== undefined && share.passes('fromSocket', answer.length) ? answer : undefined;
    } finally {
      this.asked--;
      const left = (this.askedBy.get(peer) ?? 0) - 1;
      if (left > 0) this.askedBy.set(peer, left);
      else this.askedBy.delete(peer);
    }
  }
}

function busyAnswer(message: Uint8Array): Uint8Array | undefined {
  const judged = judge(message);
  return judged.kind === 'ask' ? failure(judged.query, RCODE.servFail) : undefined;
}

class ResolverStream {
  /** Resolves when the stream is closed and no query of it is under way. */
  readonly closed: Promise<void>;
  private readonly reader = new MessageReader();
  private readonly over = new AbortController();
  private readonly waiting: Uint8Array[] = [];
  private asked = 0;
  private hasEnded = false;
  private resolveClosed: () => void = () => {};

  constructor(
    private readonly stream: TunnelStream,
    private readonly answer: (message: Uint8Array, signal: AbortSignal) => Promise<Uint8Array | undefined>,
  ) {
    this.closed = new Promise((resolve) => {
      this.resolveClosed = resolve;
    });
    // Each query has a listener on it.
    setMaxListeners(0, this.over.signal);
    stream.on('error', () => {});
    stream.on('data', (chunk: Uint8Array) => this.handleData(chunk));
    stream.once('end', () => {
      this.hasEnded = true;
      this.goOn();
    });
    if (stream.destroyed) this.handleClosed();
    else stream.once('close', () => this.handleClosed());
  }

  private handleData(chunk: Uint8Array): void {
    for (const message of this.reader.receive(chunk)) this.waiting.push(message);
    release(chunk);
    this.goOn();
  }

  private handleClosed(): void {
    this.waiting.length = 0;
    this.over.abort();
    if (this.asked === 0) this.resolveClosed();
  }

  private goOn(): void {
    while (this.asked < MAX_ASKED && this.waiting.length > 0) {
      const message = this.waiting.shift();
      if (message !== undefined) void this.ask(message);
    }
    if (this.waiting.length > 0) this.stream.pause();
    else if (this.stream.isPaused()) this.stream.resume();
    if (this.hasEnded && this.asked === 0 && this.waiting.length === 0) this.stream.end();
  }

  private async ask(message: Uint8Array): Promise<void> {
    this.asked++;
    const answer = await this.answer(message, this.over.signal);
    this.asked--;
    if (this.stream.destroyed) {
      if (this.asked === 0 && this.over.signal.aborted) this.resolveClosed();
      return;
    }
    if (answer !== undefined && this.stream.writableLength <= MAX_UNSENT_BYTES) this.stream.write(framed(answer));
    this.goOn();
  }
}
