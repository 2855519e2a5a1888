/**
 * A client's session without streams, or with one that echoes, as cheap as it can be and yet real: ticket, handshake,
 * session request, HELLO, pings, acknowledgements, and resumption (docs/protocol.md §2, §3, §9, §10). To a relay and an
 * exit it looks as a session of `wstun client` does. It has one link at a time, and knows what an exit sends to such a
 * session; anything else ends it.
 */
import { randomBytes } from 'node:crypto';
import type { HandshakeState } from '../src/crypto/noise.ts';
import type { RecordOpener, RecordSealer } from '../src/crypto/record-cipher.ts';
import { faultOfSessionCode } from '../src/errors.ts';
import { RecordEncoder } from '../src/protocol/frame-encoder.ts';
import {
  FEATURE_DATAGRAMS,
  FEATURE_LINKS,
  FEATURE_MAY_WAIT,
  FEATURE_SERVICES,
  FRAME_HEADER_BYTES,
  FrameType,
  MAX_CREDIT_BYTES,
} from '../src/protocol/frames.ts';
import { decodeRecordHeader, encodeRecordHeader, RECEIPT_CLOCK_US } from '../src/protocol/record-header.ts';
import { decodeSessionAnswer, encodeSessionRequest, SESSION_ID_BYTES } from '../src/protocol/session-request.ts';
import type { TicketUrl } from '../src/tunnel/dial/ticket-dialer.ts';
import { LeanLink, type LinkOwner, type LinkPlace } from './lean-link.ts';
import type { LeanPeer } from './lean-peer.ts';

/** What a client of wstun offers. */
const FEATURES = FEATURE_MAY_WAIT | FEATURE_LINKS | FEATURE_DATAGRAMS | FEATURE_SERVICES;
const MAX_STREAMS = 1024;
const NOTICE = 0x00;
const HANDSHAKE = Uint8Array.of(0x01);
const EMPTY = new Uint8Array(0);
const STREAM = 1;
/** From the open link to the session, ms: as the handshake and the exchange of a client. */
const SESSION_LIMIT_MS = 10_000;

export interface SessionOwner {
  /** The exit's HELLO has come, or it has resumed the session. */
  handleUp(session: LeanSession): void;
  /** The session has no link, and the next `dial` is up to the owner. `wasUp`: it had one; else that attempt failed. */
  handleDown(session: LeanSession, why: string, wasUp: boolean): void;
  /** Bytes of its stream. */
  handleData?(session: LeanSession, bytes: number): void;
}

type Phase = 'down' | 'opening' | 'shaking' | 'asking' | 'greeting' | 'up';

/** All sessions write their frames here, one record at a time. */
const encoder = new RecordEncoder();

export class LeanSession implements LinkOwner {
  /** For its owner. */
  upAt = 0;
  downAt = 0;
  private phase: Phase = 'down';
  private link: LeanLink | undefined;
  private ticket: TicketUrl | undefined;
  private noise: HandshakeState | undefined;
  private sealer: RecordSealer | undefined;
  private opener: RecordOpener | undefined;
  private limit: NodeJS.Timeout | undefined;
  private id: Buffer | undefined;
  private isGreeted = false;
  private hasStream = false;
  private first: Uint8Array | undefined;
  /** Numbered records of the exit. */
  private received = 0;
  private isOwing = false;
  private pinged = 0;
  /** Frames of numbered records that the exit may not have, and the number of the last one. */
  private kept: Uint8Array[] = [];
  private sent = 0;
  private refusal: string | undefined;

  constructor(
    readonly peer: LeanPeer,
    private readonly place: LinkPlace,
    private readonly owner: SessionOwner,
  ) {}

  get isUp(): boolean {
    return this.phase === 'up';
  }

  /** Begins the session, or resumes it if an exit may have it. */
  dial(): void {
    this.phase = 'opening';
    this.refusal = undefined;
    this.ticket = this.peer.ticketUrl();
    this.link = new LeanLink(this.place, this.ticket.url.pathname, this);
  }

  /** As of a network that fails. */
  cut(): void {
    this.link?.abort();
  }

  ping(): void {
    this.pinged = (this.pinged + 1) >>> 0;
    const opaque = Buffer.alloc(8);
    opaque.writeUInt32BE(this.pinged, 4);
    encoder.ping(opaque);
    this.flush();
  }

  /** It has its stream. */
  get isStreaming(): boolean {
    return this.hasStream;
  }

  /** The only stream: to 127.0.0.1. `first` follows when it is open. */
  open(port: number, first: Uint8Array): void {
    this.hasStream = true;
    this.first = first;
    const target = { kind: 'ip', ip: Uint8Array.of(127, 0, 0, 1), port } as const;
    encoder.open(STREAM, MAX_CREDIT_BYTES, { service: 'tcp', target });
    this.flush();
  }

  /** Data of the stream. */
  write(bytes: Uint8Array): void {
    this.encodeData(bytes);
    this.flush();
  }

  private encodeData(bytes: Uint8Array): void {
    encoder.dataHeader(STREAM, bytes.length);
    encoder.payload(Buffer.from(bytes));
  }

  // ── LinkOwner ──────────────────────────────────────────────────────────────────────────────────────────────────────

  handleOpen(): void {
    const { header, noise } = this.peer.handshake();
    this.noise = noise;
    this.ticket = undefined;
    this.phase = 'shaking';
    this.limit = setTimeout(() => this.fail('no session in time'), SESSION_LIMIT_MS);
    this.link?.send([[header, noise.writeMessage(EMPTY)]]);
  }

  handleRefused(status: number, etag: string | undefined): void {
    const proven = etag === undefined ? undefined : this.ticket?.provenFault(etag, '');
    this.refusal = proven?.fault ?? `HTTP ${status}`;
  }

  handleMessage(content: Buffer): void {
    try {
      if (this.phase === 'shaking') this.finishHandshake(content);
      else this.takeRecord(content);
    } catch (error) {
      this.fail(error instanceof Error ? error.message : String(error));
    }
  }

  handleLost(why: string): void {
    const wasUp = this.phase === 'up';
    clearTimeout(this.limit);
    this.limit = undefined;
    this.phase = 'down';
    this.link = undefined;
    this.ticket = undefined;
    this.noise = undefined;
    this.sealer = undefined;
    this.opener = undefined;
    this.owner.handleDown(this, this.refusal ?? why, wasUp);
  }

  private fail(why: string): void {
    this.refusal ??= why;
    this.link?.abort();
  }

  // ── the link's first messages ──────────────────────────────────────────────────────────────────────────────────────

  private finishHandshake(content: Buffer): void {
    const { noise } = this;
    if (content[0] === NOTICE || noise === undefined) return this.fail(faultOfSessionCode(content.readUInt16BE(1)));
    noise.readMessage(content.subarray(1));
    const last = noise.writeMessage(EMPTY);
    const { sealer, opener } = noise.finish();
    this.noise = undefined;
    this.sealer = sealer;
    this.opener = opener;
    this.phase = 'asking';
    const kind = this.id === undefined ? 'begin' : 'resume';
    const id = this.id ?? randomBytes(SESSION_ID_BYTES);
    if (kind === 'begin') this.begin(id);
    const request = sealer.seal([encodeSessionRequest({ kind, id, received: this.received })]);
    this.link?.send([[HANDSHAKE, last], request]);
  }

  private begin(id: Buffer): void {
    this.id = id;
    this.isGreeted = false;
    this.hasStream = false;
    this.received = 0;
    this.kept = [];
    this.sent = 0;
  }

  private takeAnswer(record: Buffer): void {
    const answer = decodeSessionAnswer([record]);
    if (answer === undefined) return this.fail('bad answer');
    if ('fault' in answer) {
      this.id = undefined;
      return this.fail(answer.fault);
    }
    this.handleAcknowledged(answer.received);
    if (this.kept.length + answer.received !== this.sent) return this.fail('session-gap');
    this.phase = this.isGreeted ? 'up' : 'greeting';
    for (const frames of this.kept) this.sendNumbered(frames);
    if (this.phase === 'up') this.handleUp();
    else encoder.hello(MAX_STREAMS, FEATURES);
    this.ping();
  }

  private handleUp(): void {
    clearTimeout(this.limit);
    this.limit = undefined;
    this.phase = 'up';
    this.isGreeted = true;
    this.owner.handleUp(this);
  }

  // ── records ────────────────────────────────────────────────────────────────────────────────────────────────────────

  private takeRecord(content: Buffer): void {
    const pieces = this.opener?.open([content]);
    if (pieces === undefined) return this.fail('a record that does not verify');
    const [only] = pieces;
    const record =
      pieces.length === 1 && only ? Buffer.from(only.buffer, only.byteOffset, only.length) : Buffer.concat(pieces);
    if (this.phase === 'asking') return this.takeAnswer(record);
    const decoded = decodeRecordHeader([record]);
    if (decoded === undefined || decoded.header.placement !== undefined) return this.fail('an odd record');
    const { header, bytes } = decoded;
    if (header.acknowledged !== undefined) this.handleAcknowledged(header.acknowledged.position);
    if (!header.isNumbered) return;
    this.received += 1;
    this.isOwing = true;
    this.takeFrames(record.subarray(bytes));
    this.flush();
  }

  /** Links of one session: positions are numbers. */
  private handleAcknowledged(position: number): void {
    const news = position - (this.sent - this.kept.length);
    if (news > 0) this.kept.splice(0, news);
  }

  /** An exit cuts no small frame. */
  private takeFrames(frames: Buffer): void {
    for (let at = 0; at < frames.length; ) {
      const length = frames.readUIntBE(at + 1, 3);
      const start = at + FRAME_HEADER_BYTES;
      at = start + length;
      if (at > frames.length) return this.fail('a frame was cut');
      this.takeFrame(frames[start - FRAME_HEADER_BYTES] ?? 0, frames.subarray(start, at));
    }
  }

  private takeFrame(type: number, payload: Buffer): void {
    switch (type) {
      case FrameType.hello:
        return this.handleUp();
      case FrameType.ping:
        return encoder.pong(payload);
      case FrameType.opened:
        if (this.first !== undefined) this.encodeData(this.first);
        this.first = undefined;
        return;
      case FrameType.data:
        return this.owner.handleData?.(this, payload.length);
      case FrameType.goAway:
        this.id = undefined;
        return this.fail(`went away: ${faultOfSessionCode(payload.readUInt16BE(0))}`);
      case FrameType.openFailed:
      case FrameType.reset:
      case FrameType.finish:
        return this.fail(`the stream ended with ${payload.length >= 2 ? payload.readUInt16BE(0) : 'a FINISH'}`);
      // PONG, CREDIT, LINKS: all is well.
    }
  }

  /** Sends what was encoded, or owed. */
  private flush(): void {
    if (encoder.length === 0) {
      if (this.isOwing) this.sendRecord(EMPTY, false);
      return;
    }
    const frames = Buffer.concat(encoder.take());
    encoder.releaseBuffers();
    this.kept.push(frames);
    this.sent += 1;
    if (this.phase !== 'down') this.sendNumbered(frames);
  }

  private sendNumbered(frames: Uint8Array): void {
    this.sendRecord(frames, true);
  }

  private sendRecord(frames: Uint8Array, isNumbered: boolean): void {
    const { sealer, isOwing, received } = this;
    const receivedUs = Math.floor(performance.now() * 1000) % RECEIPT_CLOCK_US;
    const acknowledged = isOwing ? { position: received, receivedUs } : undefined;
    const header = encodeRecordHeader({ isNumbered, mayWait: isNumbered && this.isGreeted, acknowledged });
    this.isOwing = false;
    if (sealer !== undefined) this.link?.send([sealer.seal([header, frames])]);
  }
}
