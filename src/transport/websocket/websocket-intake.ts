/**
 * Between a raw socket and `ws`: whole binary messages go directly to the link, everything else to `ws`
 * (websocket-frame-reader.ts says why). It replaces the listener with which `ws` reads the socket, and calls that
 * listener for everything else. So `ws` still handles pausing, control frames, fragments, faults and the closing
 * handshake. If a release of `ws` listened in another way, `ws` would read everything: slower, but correct.
 */
import type { Duplex } from 'node:stream';
import { type Lent, ownRead, type Piece } from '../../memory/pieces.ts';
import { FrameReader, type FrameSink } from './websocket-frame-reader.ts';

/** What the link is told. */
export type LinkSide = Pick<FrameSink, 'handleMessage' | 'handleFault'>;

type DataListener = (chunk: Uint8Array) => void;

export class WebSocketIntake implements FrameSink {
  private readonly reader: FrameReader;
  private stopped = false;
  private settling = false;

  /** Undefined where `ws` does not read `raw` by one listener. Call it before a byte of the WebSocket is read. */
  static take(raw: Duplex, masked: boolean, link: LinkSide): WebSocketIntake | undefined {
    const [listener, ...others] = raw.listeners('data');
    if (listener === undefined || others.length > 0) return undefined;
    return new WebSocketIntake(raw, listener as DataListener, masked, link);
  }

  private constructor(
    private readonly raw: Duplex,
    private readonly forWs: DataListener,
    masked: boolean,
    private readonly link: LinkSide,
  ) {
    this.reader = new FrameReader(masked, this);
    raw.off('data', forWs);
    raw.on('data', (chunk: Uint8Array) => this.take(chunk));
    // It happens once: `once` would hold more memory for each idle link.
    raw.prependListener('close', () => this.drain());
  }

  /** As what `raw` would deliver now, but lent. False if it would not: it is paused, or other bytes come first. */
  readLent(chunk: Lent): boolean {
    if (this.raw.readableFlowing !== true || this.raw.readableLength > 0) return false;
    if (!this.stopped) this.reader.readLent(chunk);
    return true;
  }

  /** `ws` has stopped listening: what still arrives is ignored. */
  stop(): void {
    this.stopped = true;
  }

  handleMessage(held: Piece[], last?: Lent): void {
    if (!this.stopped) this.link.handleMessage(held, last);
  }

  handleOther(bytes: Uint8Array): void {
    if (this.stopped) return;
    this.forWs.call(this.raw, bytes);
    if (this.settling || !this.reader.isUnsettled) return;
    this.settling = true;
    setImmediate(WebSocketIntake.settle, this);
  }

  private static settle(intake: WebSocketIntake): void {
    intake.settling = false;
    intake.reader.settle();
  }

  handleFault(text: string): void {
    this.stopped = true;
    this.link.handleFault(text);
  }

  /** Node allocated the chunk for this socket, and this is its only reader. */
  private take(chunk: Uint8Array): void {
    if (!this.stopped) this.reader.take(ownRead(chunk));
  }

  /** What a paused socket still held when it was closed. `ws` would read it, without the messages taken out before. */
  private drain(): void {
    const rest: Uint8Array | null = this.raw.read();
    if (rest !== null) this.take(rest);
    this.stopped = true;
  }
}
