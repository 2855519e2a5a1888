/**
 * One link: the far leg to the relay, the near leg to the laptop, and whole messages passed between them as they come.
 * Looks into none and copies none: each buffer goes out as it came in.
 *
 * A browser's WebSocket cannot be told to stop reading. So the page tells the laptop how much has left for the relay,
 * and the laptop waits; from the relay only what the session has granted can come. Past the cap the link ends, and the
 * session resumes on another.
 */

/** Waiting for either leg, bytes. */
const MAX_QUEUED_BYTES = 8 * 1024 * 1024;
/** Half of the least that the laptop may have on the way. */
const REPORT_BYTES = 64 * 1024;
/** But not more often than this: a fast far leg would cost a report for each message. */
const REPORT_MS = 4;
/** There is no event for a leg that drains. Browsers allow no less. */
const LOOK_AGAIN_MS = 4;
/** From the relay before the laptop is there: a notice, or the beginning of what a fast exit says. */
const MAX_EARLY_BYTES = 64 * 1024;
/** The laptop waits 10 s in all. */
const OPEN_LIMIT_MS = 8_000;
const PROBE_LIMIT_MS = 1_500;

const NORMAL = 1000;
/** Scripts may close with 1000 or from 3000 on: a loss must not look like a goodbye. */
const LOST = 4001;

export type BridgeState = 'opening' | 'open' | 'offline' | 'refused' | 'ended';

export interface BridgeEvents {
  onState(state: BridgeState): void;
  /** Bytes of one message that was passed on. */
  onUp(bytes: number): void;
  onDown(bytes: number): void;
}

export class Bridge {
  private readonly far: WebSocket;
  private readonly nearUrl: string;
  private readonly events: BridgeEvents;
  private readonly limit: number;
  private near: WebSocket | undefined;
  private state: BridgeState = 'opening';
  /** Of the far leg, until the near leg is open. A relay with bad news says it and closes at once. */
  private early: ArrayBuffer[] = [];
  private earlyBytes = 0;
  private farEnd: number | undefined;
  /** Bytes of messages handed to the far leg, and of these the number that the laptop was told. */
  private handedOn = 0;
  private reported = 0;
  private reportedAt = 0;
  private look: number | undefined;

  constructor(farUrl: string, nearUrl: string, events: BridgeEvents) {
    this.nearUrl = nearUrl;
    this.events = events;
    this.far = openSocket(farUrl);
    this.far.onopen = () => this.openNear();
    this.far.onclose = ({ code }) => (this.near === undefined ? void this.explain(farUrl) : this.endFar(code));
    this.far.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => this.keepEarly(data);
    this.limit = setTimeout(() => (this.near === undefined ? this.far.close(LOST) : this.end()), OPEN_LIMIT_MS);
    events.onState('opening');
  }

  /** Ends both legs. */
  end(code = LOST): void {
    if (this.state === 'ended') return;
    clearTimeout(this.limit);
    clearTimeout(this.look);
    for (const leg of [this.far, this.near]) {
      if (leg === undefined) continue;
      leg.onmessage = null;
      leg.onclose = null;
      leg.onopen = null;
      leg.close(code === NORMAL ? NORMAL : LOST);
    }
    this.become('ended');
  }

  private openNear(): void {
    const near = openSocket(this.nearUrl);
    this.near = near;
    near.onclose = ({ code }) => this.end(code);
    near.onopen = () => {
      clearTimeout(this.limit);
      this.become('open');
      near.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => this.passUp(data);
      this.far.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => this.passDown(near, data);
      this.passEarly(near);
    };
  }

  private keepEarly(data: ArrayBuffer | string): void {
    if (typeof data === 'string') return this.end();
    this.early.push(data);
    this.earlyBytes += data.byteLength;
    if (this.earlyBytes > MAX_EARLY_BYTES) this.end();
  }

  private passEarly(near: WebSocket): void {
    for (const data of this.early) this.passDown(near, data);
    this.early = [];
    if (this.farEnd !== undefined) this.end(this.farEnd);
  }

  /** What came before goes first. */
  private endFar(code: number): void {
    if (this.state === 'opening' && this.early.length > 0) this.farEnd = code;
    else this.end(code);
  }

  private passUp(data: ArrayBuffer | string): void {
    if (typeof data === 'string') return this.end();
    this.far.send(data);
    this.handedOn += data.byteLength;
    this.events.onUp(data.byteLength);
    this.report();
    if (this.far.bufferedAmount > MAX_QUEUED_BYTES) this.end();
  }

  private passDown(near: WebSocket, data: ArrayBuffer | string): void {
    if (typeof data === 'string') return this.end();
    near.send(data);
    this.events.onDown(data.byteLength);
    if (near.bufferedAmount > MAX_QUEUED_BYTES) return this.end();
    this.report();
  }

  /** Tells the laptop what has left since the last time, if it is enough or all. */
  private report(): void {
    const waiting = this.far.bufferedAmount;
    const carried = this.handedOn - waiting;
    const isWorthIt = carried - this.reported >= REPORT_BYTES || (waiting === 0 && carried > this.reported);
    if (isWorthIt && performance.now() - this.reportedAt >= REPORT_MS) {
      this.reported = carried;
      this.reportedAt = performance.now();
      this.near?.send(String(carried));
    }
    if (this.reported < this.handedOn) this.look ??= setTimeout(() => this.lookAgain(), LOOK_AGAIN_MS);
  }

  private lookAgain(): void {
    this.look = undefined;
    this.report();
  }

  /**
   * A browser does not say why a WebSocket failed. Whether anything answers there makes the difference for a person.
   */
  private async explain(farUrl: string): Promise<void> {
    if (this.state !== 'opening') return;
    clearTimeout(this.limit);
    const host = farUrl.replace(/^ws/, 'http').replace(/^(https?:\/\/[^/]+).*$/, '$1/');
    const answered = fetch(host, { mode: 'no-cors', cache: 'no-store' }).then(
      () => true,
      () => false,
    );
    const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), PROBE_LIMIT_MS));
    this.become((await Promise.race([answered, late])) ? 'refused' : 'offline');
    this.end();
  }

  private become(state: BridgeState): void {
    if (this.state === 'ended') return;
    this.state = state;
    this.events.onState(state);
  }
}

function openSocket(url: string): WebSocket {
  const socket = new WebSocket(url);
  socket.binaryType = 'arraybuffer';
  return socket;
}
