/** What the page does: keeps a control link, opens the links that the laptop requests, and reconnects. */
import { DUTY, type Duty, type LaptopMessage } from '../shared/messages.ts';
import { Bridge, type BridgeEvents, type BridgeState } from './bridge.ts';
import { Control, type ControlEvents } from './control.ts';
import type { PageClock, PageTimer } from './page-clock.ts';
import { Requests } from './requests.ts';
import { findSecret, forgetSecret, store } from './secret-store.ts';
import type { State } from './strings.ts';

/** Between attempts: short, because a person waits, and an attempt loads only the local network. */
const FIRST_WAIT_MS = 200;
const MAX_WAIT_MS = 1_000;

/** `gone`: it was joined. `over`: there is no secret, and nothing is tried any more. */
type Phase = 'joining' | 'joined' | 'gone' | 'over';

export interface Counts {
  readonly up: number;
  readonly down: number;
  /** Since the first link opened, ms since 1970. */
  readonly since: number | undefined;
}

export class Tether {
  private readonly bridges = new Set<Bridge>();
  private readonly requests = new Set<Requests>();
  private phase: Phase = 'joining';
  private secret: Uint8Array | undefined;
  private isCode = false;
  private control: Control | undefined;
  private waitMs = FIRST_WAIT_MS;
  private timer: PageTimer | undefined;
  private duty: Duty = DUTY.idle;
  /** The last state that a link reported. */
  private link: BridgeState = 'ended';
  private up = 0;
  private down = 0;
  private since: number | undefined;

  constructor(
    private readonly onState: (state: State) => void,
    private readonly clock: PageClock,
  ) {}

  get counts(): Counts {
    return { up: this.up, down: this.down, since: this.since };
  }

  start(): void {
    const found = findSecret();
    if (found === undefined) return this.giveUp('bare');
    this.secret = found.secret;
    this.isCode = found.isCode;
    this.connect();
  }

  /** The page is visible again, or the network is back: a pending attempt starts now. */
  reconnectNow(): void {
    if (this.timer === undefined) return;
    this.waitMs = FIRST_WAIT_MS;
    this.connect();
  }

  private connect(): void {
    this.clock.clearTimeout(this.timer);
    this.timer = undefined;
    if (this.secret === undefined) return;
    const events: ControlEvents = {
      onPaired: (rejoin) => this.handlePaired(rejoin),
      onMessage: (message) => this.handleMessage(message),
      onPing: () => this.reportProgress(),
      onEnd: (refused) => this.handleEnd(refused),
    };
    this.control = new Control(this.secret, events, this.clock);
    this.reportState();
  }

  private handlePaired(rejoin: Uint8Array): void {
    if (this.isCode) {
      this.secret = store(rejoin, false).secret;
      this.isCode = false;
    }
    this.phase = 'joined';
    this.waitMs = FIRST_WAIT_MS;
    this.reportState();
  }

  private handleMessage(message: LaptopMessage): void {
    if (message.type === 'duty') this.duty = message.duty;
    if (message.type === 'open') this.open(message.link, message.url);
    if (message.type === 'requests') this.openRequests(message.link);
    if (message.type === 'replaced') this.giveUp('replaced');
    else this.reportState();
  }

  /** A browser wakes the timers of a tab in the background once a second, or once a minute: messages wake it, too. */
  private reportProgress(): void {
    for (const bridge of this.bridges) bridge.reportProgress();
  }

  private open(link: string, url: string): void {
    const urls = { upstream: url, local: `ws://${location.host}/link/${link}` };
    const events: BridgeEvents = {
      onState: (state) => {
        if (state === 'offline' || state === 'refused') {
          const reason = state === 'refused' ? 'refused' : 'unreachable';
          this.control?.send({ type: 'failed', link, reason });
        }
        if (state === 'open') this.since ??= this.clock.wallTime();
        if (state === 'ended') this.bridges.delete(bridge);
        this.noteLink(state);
      },
      onUp: (bytes) => {
        this.up += bytes;
      },
      onDown: (bytes) => {
        this.down += bytes;
      },
    };
    const bridge: Bridge = new Bridge(urls, events, this.clock);
    this.bridges.add(bridge);
  }

  private openRequests(link: string): void {
    const requests: Requests = new Requests(
      `ws://${location.host}/link/${link}`,
      {
        onEnd: () => {
          this.requests.delete(requests);
          this.noteLink('ended');
        },
        onUp: (bytes) => {
          this.up += bytes;
        },
        onDown: (bytes) => {
          this.since ??= this.clock.wallTime();
          this.down += bytes;
          if (this.link !== 'open') this.noteLink('open');
        },
      },
      this.clock,
    );
    this.requests.add(requests);
  }

  /** The reason why a link failed is shown until the next one is tried. */
  private noteLink(state: BridgeState): void {
    const keeps = state === 'ended' && (this.link === 'offline' || this.link === 'refused' || this.links > 0);
    if (!keeps) this.link = state;
    this.reportState();
  }

  private get links(): number {
    return this.bridges.size + this.requests.size;
  }

  private handleEnd(refused: boolean): void {
    this.control = undefined;
    if (this.phase === 'joined') this.phase = 'gone';
    this.link = 'ended';
    for (const link of [...this.bridges, ...this.requests]) link.end();
    if (refused) {
      forgetSecret();
      return this.giveUp('expired');
    }
    if (this.phase === 'over') return;
    this.timer = this.clock.setTimeout(() => this.connect(), this.waitMs);
    this.waitMs = Math.min(MAX_WAIT_MS, this.waitMs * 2);
    this.reportState();
  }

  /** Tries nothing any more, until a person reloads the page. */
  private giveUp(state: State): void {
    this.phase = 'over';
    this.secret = undefined;
    this.control?.end();
    this.onState(state);
  }

  private reportState(): void {
    if (this.phase !== 'over') this.onState(this.stateNow());
  }

  private stateNow(): State {
    if (this.phase !== 'joined') return this.phase === 'gone' ? 'gone' : 'joining';
    if (this.link === 'open') return 'active';
    if (this.link !== 'ended') return this.link;
    return this.duty === DUTY.standby ? 'standby' : 'idle';
  }
}
