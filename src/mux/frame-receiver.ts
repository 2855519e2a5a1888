/** The peer's frames (docs/protocol.md §4, §6 to §9): checks them, changes state, makes events, gives faults. Pure. */
import { faultOfSessionCode, faultOfStreamCode, type WireFaultName } from '../errors.ts';
import { type Piece, release } from '../memory/pieces.ts';
import { copiedIfSmall } from '../memory/small-pieces.ts';
import { readAddress, readDatagrams } from '../protocol/datagrams.ts';
import { FrameDecoder, type FrameHandler, type Violation } from '../protocol/frame-decoder.ts';
import { MAX_CREDIT_BYTES, MIN_CREDIT_BYTES, PROTOCOL_VERSION, STREAMS_BEFORE_HELLO } from '../protocol/frames.ts';
import type { ToldRelays } from '../protocol/relays.ts';
import { featuresOfOpenerFor, isConnected, type OpenRequest } from '../protocol/services.ts';
import type { Target } from '../protocol/target.ts';
import { LATE_FRAMES_OF_REFUSED } from './peer-budgets.ts';
import type { SessionParts } from './session-parts.ts';
import type { StreamState } from './stream-state.ts';

export class FrameReceiver implements FrameHandler {
  private readonly decoder = new FrameDecoder();
  /** Of the record that is being decoded. */
  private now = 0;
  peerMaxStreams = STREAMS_BEFORE_HELLO;
  peerFeatures = 0;
  /** HELLO has come. */
  isGreeted = false;
  isDraining = false;
  isPeerDraining = false;
  /** The peer has ended the session, so nothing is to be sent any more. */
  isEndedByPeer = false;

  constructor(private readonly parts: SessionParts) {}

  get isBetweenFrames(): boolean {
    return this.decoder.isBetweenFrames;
  }

  /** Takes the piece. Returns the fault that ends the session, if any. */
  handleRecord(piece: Piece, now: number): Violation {
    this.now = now;
    return this.decoder.decode(piece, this);
  }

  handleHello(version: number, maxStreams: number, features: number): Violation {
    if (version !== PROTOCOL_VERSION) return 'bad-version';
    this.peerMaxStreams = maxStreams;
    this.peerFeatures = features;
    this.isGreeted = true;
    this.parts.events.push({ type: 'established' });
    return undefined;
  }

  handleOpen(id: number, credit: number, request: OpenRequest | undefined): Violation {
    const { config, streams, budgets, events } = this.parts;
    if (streams.isLocal(id) || id <= streams.lastPeerId) return 'bad-stream-id';
    if (credit > MAX_CREDIT_BYTES) return 'credit-overflow';
    streams.lastPeerId = id;
    const refusal = config.role === 'client' ? this.refusalOfAccepted(request) : undefined;
    if (refusal !== undefined) return this.refuseOpen(id, refusal);
    if (this.isDraining) return this.refuseOpen(id, 'shutting-down');
    const isBusy = !budgets.opens.acquire(this.now) || budgets.rapidResets.isEmpty(this.now);
    if (isBusy || streams.peerStreams >= config.maxStreams) return this.refuseOpen(id, 'dial-busy');
    if (!request || !this.mayServe(request)) return this.refuseOpen(id, 'dial-bad-target');
    streams.offer(id, request, credit);
    events.push({ type: 'offer', stream: id, request });
    return undefined;
  }

  /** The peer must understand what the service sends it. */
  private mayServe({ service }: OpenRequest): boolean {
    if (this.parts.config.role === 'exit' && service === 'accepted') return false;
    const features = featuresOfOpenerFor(service);
    return (this.peerFeatures & features) === features;
  }

  /** A client takes only what its own listeners have accepted. */
  private refusalOfAccepted(request: OpenRequest | undefined): WireFaultName | undefined {
    if (request?.service !== 'accepted' || request.listener === undefined) return 'dial-not-allowed';
    const listener = this.parts.streams.get(request.listener);
    return listener?.service === 'tcp-listener' && listener.phase === 'open' ? undefined : 'dial-cancelled';
  }

  /** Keeps nothing but the answer, and counts: a peer that respects our HELLO hardly ever needs it. */
  private refuseOpen(id: number, fault: WireFaultName): Violation {
    this.parts.budgets.allowLateFrames(LATE_FRAMES_OF_REFUSED);
    this.parts.writer.push({ type: 'open-failed', stream: id, fault });
    return this.countRapidReset();
  }

  private countRapidReset(): Violation {
    const { rapidResets, refusals } = this.parts.budgets;
    return rapidResets.acquire(this.now) || refusals.acquire(this.now) ? undefined : 'peer-flood';
  }

  handleOpened(id: number, credit: number, bound: Target | undefined): Violation {
    const { streams, liveness, rapidResets, events } = this.parts;
    const stream = streams.get(id);
    if (!stream) return this.checkLate(id);
    if (stream.phase !== 'opening') return 'wrong-state';
    if (credit > MAX_CREDIT_BYTES) return 'credit-overflow';
    stream.phase = 'open';
    stream.sendCredit = credit;
    liveness.handleTransfer(this.now);
    rapidResets.release();
    if (stream.datagrams !== undefined) stream.datagrams.isReady = true;
    if (stream.datagrams?.sendable) this.parts.datagrams.add(stream.datagrams);
    events.push({ type: 'opened', stream: id, bound });
    return undefined;
  }

  handleOpenFailed(id: number, code: number): Violation {
    const stream = this.parts.streams.get(id);
    if (!stream) return this.checkLate(id);
    if (stream.phase !== 'opening') return 'wrong-state';
    this.failOpening(stream, faultOfStreamCode(code));
    return undefined;
  }

  private failOpening(stream: StreamState, fault: WireFaultName): void {
    this.parts.streams.close(stream);
    this.parts.rapidResets.release();
    this.parts.events.push({ type: 'open-failed', stream: stream.id, fault });
  }

  handleDataHeader(id: number, length: number): Violation {
    const stream = this.parts.streams.get(id);
    if (!stream) return this.checkLateData(id, length);
    if (stream.phase !== 'open' || stream.finishReceived) return 'wrong-state';
    if (length === 0) return this.countNoOp();
    return this.parts.windows.receive(stream, length) ? undefined : 'window-exceeded';
  }

  handleData(id: number, bytes: Piece): void {
    const { streams, liveness, writer, events } = this.parts;
    liveness.handleTransfer(this.now);
    const stream = streams.get(id);
    // The owner may have reset the stream between two pieces of one frame.
    const isWanted = stream !== undefined && !stream.resetWanted;
    if (isWanted) return void events.push({ type: 'data', stream: id, bytes: copiedIfSmall(bytes) });
    const { length } = bytes;
    release(bytes);
    const due = stream && streams.consume(id, length, this.now);
    if (due) writer.pushCredit(due);
  }

  /** The frames of a record that is not numbered, only lent. False: it is malformed. */
  handleDatagrams(record: Buffer, now: number): boolean {
    this.parts.liveness.handleTransfer(now);
    return readDatagrams(record, (id, payload) => this.handleDatagram(id, payload));
  }

  /** What belongs to no association is dropped: it may have ended meanwhile. */
  private handleDatagram(id: number, payload: Buffer): void {
    const stream = this.parts.streams.get(id);
    if (stream?.datagrams === undefined || stream.phase === 'opening') return;
    if (stream.finishReceived || stream.resetWanted) return;
    const isPlain = isConnected(stream.service, stream.target);
    const addressed = isPlain ? undefined : readAddress(payload);
    if (!isPlain && addressed === undefined) return;
    // A copy: the record goes back to its maker at once, and not when the last of its datagrams is used.
    const content = Buffer.from(addressed?.content ?? payload);
    this.parts.events.push({ type: 'datagram', stream: id, address: addressed?.address, content });
  }

  handleCredit(id: number, increment: number): Violation {
    if (increment === 0 || increment > MAX_CREDIT_BYTES) return 'credit-overflow';
    const { streams, scheduler } = this.parts;
    const stream = streams.get(id);
    // Late credit of a useful size is free, as on an open stream: only the peer knows how much of it is in flight.
    if (!stream && increment >= MIN_CREDIT_BYTES && streams.isUsed(id)) return undefined;
    if (!stream) return this.checkLate(id);
    if (stream.phase !== 'open') return 'wrong-state';
    if (stream.sendCredit + increment > MAX_CREDIT_BYTES) return 'credit-overflow';
    stream.sendCredit += increment;
    scheduler.add(stream);
    return increment < MIN_CREDIT_BYTES ? this.countNoOp() : undefined;
  }

  handleFinish(id: number): Violation {
    const { streams, events } = this.parts;
    const stream = streams.get(id);
    if (!stream) return this.checkLate(id);
    if (stream.phase !== 'open' || stream.finishReceived) return 'wrong-state';
    stream.finishReceived = true;
    if (!stream.resetWanted) events.push({ type: 'finish', stream: id });
    if (stream.finishSent) streams.closeWithUnread(stream);
    return undefined;
  }

  handleReset(id: number, code: number): Violation {
    const { streams, events } = this.parts;
    const stream = streams.get(id);
    if (!stream) return this.checkLate(id);
    const { phase } = stream;
    if (phase === 'opening') return 'wrong-state';
    const fault = faultOfStreamCode(code);
    // Data from before the reset of a socket is still to be delivered.
    if (phase === 'open' && fault === 'target-reset') streams.closeWithUnread(stream);
    else streams.close(stream);
    if (phase === 'open') {
      if (!stream.resetWanted) events.push({ type: 'reset', stream: id, fault });
      return undefined;
    }
    events.push({ type: 'cancelled', stream: id, fault });
    return this.countRapidReset();
  }

  handlePing(opaque: Uint8Array): Violation {
    if (!this.parts.budgets.pings.acquire(this.now)) return 'peer-flood';
    const { writer, streams, liveness } = this.parts;
    writer.pushPong(opaque);
    // Beside streams the exit's own pings measure the path.
    if (streams.size === 0) liveness.handleIdlePing(this.now);
    return undefined;
  }

  handlePong(opaque: Uint8Array): Violation {
    const { liveness, windows, budgets } = this.parts;
    const roundTripMs = liveness.handlePong(opaque, this.now);
    if (roundTripMs !== undefined) this.parts.events.push({ type: 'pong', roundTripMs });
    windows.roundTripMs = liveness.roundTripMs ?? windows.roundTripMs;
    return budgets.pings.acquire(this.now) ? undefined : 'peer-flood';
  }

  handleGoAway(code: number, lastStream: number): Violation {
    const fault = faultOfSessionCode(code);
    if (fault !== 'shutting-down') {
      // A fault stops the decoder: what follows in the same record must not be handled any more.
      this.isEndedByPeer = true;
      return fault;
    }
    if (this.isPeerDraining) return this.countNoOp();
    this.isPeerDraining = true;
    const { streams, writer, events } = this.parts;
    events.push({ type: 'peer-draining' });
    for (const stream of streams.all()) {
      if (stream.phase !== 'opening' || stream.id <= lastStream) continue;
      this.failOpening(stream, fault);
      writer.retractOpen(stream.id);
    }
    return undefined;
  }

  handleLinks(wanted: number, maxBytes: number): Violation {
    this.parts.events.push({ type: 'links-wanted', wanted, maxBytes });
    return this.countNoOp();
  }

  handleRelays(told: ToldRelays | undefined): Violation {
    const isForUs = this.parts.config.role === 'client';
    if (told !== undefined && isForUs) this.parts.events.push({ type: 'relays', told });
    return this.countNoOp();
  }

  handleIgnorable(): Violation {
    return this.countNoOp();
  }

  private countNoOp(): Violation {
    return this.parts.budgets.noOps.acquire(this.now) ? undefined : 'peer-flood';
  }

  /** A frame for a stream that is not live: it was in flight when the stream was closed here, or it is a fault. */
  private checkLate(id: number): Violation {
    return this.parts.streams.isUsed(id) ? this.countNoOp() : 'bad-stream-id';
  }

  private checkLateData(id: number, length: number): Violation {
    if (length === 0 || !this.parts.streams.isUsed(id)) return this.checkLate(id);
    return this.parts.budgets.acquireLateBytes(length) ? undefined : 'window-exceeded';
  }
}
