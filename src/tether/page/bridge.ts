/**
 * One link: the upstream connection to the relay, the local connection to the laptop, and whole messages passed between
 * them as they come, uncopied. A browser's WebSocket cannot be told to stop reading. So the page reports to the laptop
 * how much has left for the relay, and the laptop waits; from the relay only what the session's credit allows can come.
 * Past the cap the link ends, and the session resumes on another.
 */
import type { PageClock, PageTimer } from './page-clock.ts';
import { ProgressReports } from './progress-reports.ts';

/** Queued for either connection. */
const MAX_QUEUED_BYTES = 8 * 1024 * 1024;
/** From the relay before the laptop is there: a notice, or the beginning of what a fast exit says. */
const MAX_EARLY_BYTES = 64 * 1024;
/** The laptop waits 10 s in all. */
const OPEN_LIMIT_MS = 8_000;
const PROBE_LIMIT_MS = 1_500;

/** Close codes (RFC 6455 §7.4). */
const NORMAL = 1000;
/** Scripts may close with 1000, or from 3000 on. A loss must not look like an orderly end. */
const LOST = 4001;

export type BridgeState = 'opening' | 'open' | 'offline' | 'refused' | 'ended';

export interface BridgeEvents {
  onState(state: BridgeState): void;
  /** The laptop has closed it in order; `ended` follows. */
  onReleased(): void;
  /** Bytes of one message that was passed on to the relay. */
  onUp(bytes: number): void;
  /** The same, to the laptop. */
  onDown(bytes: number): void;
}

export interface BridgeUrls {
  readonly upstream: string;
  readonly local: string;
}

export class Bridge {
  private readonly upstream: WebSocket;
  private readonly limit: PageTimer;
  private readonly reports: ProgressReports;
  private local: WebSocket | undefined;
  private state: BridgeState = 'opening';
  /** Messages of the relay, until the local connection is open. A relay with bad news says it and closes at once. */
  private early: ArrayBuffer[] = [];
  private earlyBytes = 0;
  /** The close code of the upstream connection, which ended while `early` messages waited. */
  private earlyClose: number | undefined;

  constructor(
    private readonly urls: BridgeUrls,
    private readonly events: BridgeEvents,
    private readonly clock: PageClock,
  ) {
    this.upstream = openSocket(urls.upstream);
    this.upstream.onopen = () => this.openLocal();
    this.upstream.onclose = ({ code }) => (this.local === undefined ? void this.explain() : this.endUpstream(code));
    this.upstream.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => this.keepEarly(data);
    this.reports = new ProgressReports(this.upstream, (text) => this.local?.send(text), clock);
    this.limit = clock.setTimeout(
      () => (this.local === undefined ? this.upstream.close(LOST) : this.end()),
      OPEN_LIMIT_MS,
    );
    events.onState('opening');
  }

  /** Tells the laptop what has left, if there is anything new. */
  reportProgress(): void {
    if (this.state === 'open') this.reports.report();
  }

  /** Ends both connections. */
  end(code = LOST): void {
    if (this.state === 'ended') return;
    this.clock.clearTimeout(this.limit);
    this.reports.stop();
    for (const socket of [this.upstream, this.local]) {
      if (socket === undefined) continue;
      socket.onmessage = null;
      socket.onclose = null;
      socket.onopen = null;
      socket.close(code === NORMAL ? NORMAL : LOST);
    }
    this.become('ended');
  }

  private openLocal(): void {
    const local = openSocket(this.urls.local);
    this.local = local;
    local.onclose = ({ code }) => {
      if (code === NORMAL) this.events.onReleased();
      this.end(code);
    };
    local.onopen = () => {
      this.clock.clearTimeout(this.limit);
      this.become('open');
      local.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => this.passUp(data);
      this.upstream.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => this.passDown(local, data);
      this.passEarly(local);
    };
  }

  private keepEarly(data: ArrayBuffer | string): void {
    if (typeof data === 'string') return this.end();
    this.early.push(data);
    this.earlyBytes += data.byteLength;
    if (this.earlyBytes > MAX_EARLY_BYTES) this.end();
  }

  private passEarly(local: WebSocket): void {
    for (const data of this.early) this.passDown(local, data);
    this.early = [];
    if (this.earlyClose !== undefined) this.end(this.earlyClose);
  }

  /** What came before the end goes to the laptop first. */
  private endUpstream(code: number): void {
    if (this.state === 'opening' && this.early.length > 0) this.earlyClose = code;
    else this.end(code);
  }

  private passUp(data: ArrayBuffer | string): void {
    if (typeof data === 'string') return this.end();
    this.upstream.send(data);
    this.reports.count(data.byteLength);
    this.events.onUp(data.byteLength);
    this.reports.report();
    if (this.upstream.bufferedAmount > MAX_QUEUED_BYTES) this.end();
  }

  private passDown(local: WebSocket, data: ArrayBuffer | string): void {
    if (typeof data === 'string') return this.end();
    local.send(data);
    this.events.onDown(data.byteLength);
    if (local.bufferedAmount > MAX_QUEUED_BYTES) return this.end();
    this.reports.report();
  }

  /** A browser does not say why a WebSocket failed. For a person it matters whether anything answers there. */
  private async explain(): Promise<void> {
    if (this.state !== 'opening') return;
    this.clock.clearTimeout(this.limit);
    const origin = this.urls.upstream.replace(/^ws/, 'http').replace(/^(https?:\/\/[^/]+).*$/, '$1/');
    const answered = fetch(origin, { mode: 'no-cors', cache: 'no-store' }).then(
      () => true,
      () => false,
    );
    const late = new Promise<boolean>((resolve) => this.clock.setTimeout(() => resolve(false), PROBE_LIMIT_MS));
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
