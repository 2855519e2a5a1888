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
/**
 * A laptop that needs a link has asked for one by then: it asks at once after a pairing, each second or two where this
 * page finds no way to the relay, and at once in place of a link that it has closed. If it does not ask, it has a
 * connection of its own.
 */
const DIRECT_AFTER_MS = 5_000;
/** The same after a link that never worked: its pauses between attempts grow to 90 s. */
const DIRECT_AFTER_LOSS_MS = 120_000;
/** A link whose handshake fails is ended sooner. After one that worked, the laptop asks at once, however it ended. */
const WORKED_MS = 2_000;

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
  /** The laptop has not asked for a link for so long that it has another connection. */
  private isDirect = false;
  private unasked: PageTimer | undefined;
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
    this.awaitRequest(DIRECT_AFTER_MS);
    this.reportState();
  }

  private handleMessage(message: LaptopMessage): void {
    if (message.type === 'duty') this.noteDuty(message.duty);
    if (message.type === 'open') this.open(message.link, message.url);
    if (message.type === 'requests') this.openRequests(message.link);
    if (message.type === 'replaced') this.giveUp('replaced');
    else this.reportState();
  }

  private noteDuty(duty: Duty): void {
    // Without the page that carried, this one is asked at once.
    if (this.duty === DUTY.standby && this.links === 0) this.awaitRequest(DIRECT_AFTER_MS);
    this.duty = duty;
  }

  /** A browser wakes the timers of a tab in the background once a second, or once a minute: messages wake it, too. */
  private reportProgress(): void {
    for (const bridge of this.bridges) bridge.reportProgress();
  }

  /** @param ms from now on without a request for a link, the laptop has another connection */
  private awaitRequest(ms: number): void {
    this.noteRequest();
    this.unasked = this.clock.setTimeout(() => {
      this.isDirect = true;
      // Why the last link failed is of no interest any more.
      this.link = 'ended';
      this.reportState();
    }, ms);
  }

  private noteRequest(): void {
    this.clock.clearTimeout(this.unasked);
    this.isDirect = false;
  }

  private open(link: string, url: string): void {
    this.noteRequest();
    let isReleased = false;
    let openedAt = Number.POSITIVE_INFINITY;
    const urls = { upstream: url, local: `ws://${location.host}/link/${link}` };
    const events: BridgeEvents = {
      onState: (state) => {
        if (state === 'offline' || state === 'refused') {
          const reason = state === 'refused' ? 'refused' : 'unreachable';
          this.control?.send({ type: 'failed', link, reason });
        }
        if (state === 'open') {
          this.since ??= this.clock.wallTime();
          openedAt = this.clock.now();
        }
        if (state === 'ended') this.bridges.delete(bridge);
        this.noteLink(state, isReleased || this.clock.now() - openedAt >= WORKED_MS);
      },
      onReleased: () => {
        isReleased = true;
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
    this.noteRequest();
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

  /**
   * The reason why a link failed is shown until the next one is tried.
   * @param isReleased if the laptop needs another in its place, it asks at once
   */
  private noteLink(state: BridgeState, isReleased = false): void {
    const hasFailed = this.link === 'offline' || this.link === 'refused';
    if (state !== 'ended' || (!hasFailed && this.links === 0)) this.link = state;
    const isSoonAsked = isReleased || this.link === 'offline';
    if (state === 'ended' && this.links === 0) this.awaitRequest(isSoonAsked ? DIRECT_AFTER_MS : DIRECT_AFTER_LOSS_MS);
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
    this.noteRequest();
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
    if (this.duty === DUTY.standby) return 'standby';
    return this.isDirect ? 'direct' : 'idle';
  }
}
