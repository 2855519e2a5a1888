/** One paired page: its control link, whether it responds, and the links that it is to open or carries. */
import { randomBytes } from 'node:crypto';
import { AbortableWait } from '../../async/abortable.ts';
import type { Clock, Timer } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import type { LinkCloseReason, Message, MessageLink, MessageLinkHandler } from '../../transport/message-link.ts';
import {
  type Duty,
  decodePageMessage,
  encodeMessage,
  type LaptopMessage,
  type PageMessage,
} from '../shared/messages.ts';
import { type PairingKeys, Seal } from '../shared/pairing.ts';
import { PageCarrierChoice } from './page-carrier-choice.ts';
import { type HttpTicket, openPageHttpLink, PageHttpLink } from './page-http-link.ts';
import { type PageKind, PHONE } from './page-kind.ts';
import {
  GONE_MS,
  LOCAL_LIMIT_MS,
  MAX_CONTROL_QUEUE_BYTES,
  MAX_HTTP_LINKS,
  OPEN_LIMIT_MS,
  PING_MS,
  SILENT_MS,
} from './tether-limits.ts';
import { TetherLink } from './tether-link.ts';

/** A smaller difference of two clocks does not matter to tickets, and may be jitter of the network. */
const MIN_SKEW_MS = 30_000;

export interface PairedPageEvents {
  /** The page has sent `joined`, and can be asked for links. */
  onJoined(): void;
  /** Called at each ping while the page has been silent for too long. */
  onSilent(): void;
  /** A link began or ended. */
  onLinks(): void;
  /** The last call. */
  onEnd(reason: LinkCloseReason): void;
}

export interface Pairing {
  /** The same for a page that came back. */
  readonly id: string;
  readonly keys: PairingKeys;
  /** Default: a phone's. */
  readonly kind?: PageKind;
}

/** What takes the text messages of a local connection. */
export interface TextHandler {
  handleText(text: string): void;
}

interface Request {
  readonly wait: { reject(error: unknown): void };
  /** Takes the handler of the local connection, and settles the wait. */
  readonly take: (local: MessageLink) => TextHandler;
}

/** By how a page may open a link: a ticket for each carrier that the caller can use. */
export interface PageTickets {
  readonly url: string;
  /** Made when it is needed. */
  readonly http?: (() => HttpTicket) | undefined;
}

export type PageLink = TetherLink | PageHttpLink;

export class PairedPage implements MessageLinkHandler {
  /** Of the pairing: the same for a page that came back. */
  readonly id: string;
  private readonly kind: PageKind;
  private readonly incoming: Seal;
  private readonly outgoing: Seal;
  private nextTick: Timer;
  private readonly requests = new Map<string, Request>();
  private readonly links = new Set<PageLink>();
  private readonly choice: PageCarrierChoice;
  private heardAt: number;
  private skew: number | undefined;
  private duty: Duty | undefined;
  private ended: LinkCloseReason | undefined;

  /** Takes the link's handler. */
  constructor(
    pairing: Pairing,
    private readonly link: MessageLink,
    private readonly events: PairedPageEvents,
    private readonly clock: Clock,
  ) {
    const { id, keys, kind = PHONE } = pairing;
    this.id = id;
    this.kind = kind;
    this.incoming = new Seal(keys.pageSeal);
    this.outgoing = new Seal(keys.laptopSeal);
    this.heardAt = clock.now();
    this.choice = new PageCarrierChoice(clock);
    this.nextTick = this.scheduleTick();
    link.setHandler(this);
  }

  get remote(): string {
    return this.link.remote;
  }

  /** It in logs, which is what its links say as well. */
  get name(): string {
    return `${this.kind.name} ${this.link.remote}`;
  }

  /** It carries links. */
  get isActive(): boolean {
    return this.links.size > 0;
  }

  /** It has not been silent for too long. */
  get isResponsive(): boolean {
    return this.ended === undefined && this.clock.now() - this.heardAt < SILENT_MS;
  }

  /** The page's clock minus this machine's: a laptop without internet may never have received the time. */
  get skewMs(): number {
    return this.skew ?? 0;
  }

  setDuty(duty: Duty): void {
    if (duty === this.duty) return;
    this.duty = duty;
    this.send({ type: 'duty', duty });
  }

  /** @throws WstunError the faults of its kind, link-slow, link-lost (the page is gone), dial-cancelled */
  async open({ url, http }: PageTickets, signal: AbortSignal): Promise<PageLink> {
    const bySocket = (stop: AbortSignal): Promise<PageLink> => this.openSocket(url, stop);
    if (http === undefined) return bySocket(signal);
    const byRequests = (stop: AbortSignal): Promise<PageLink> => this.openRequests(http(), stop);
    return this.choice.dial({ bySocket, byRequests }, this.kind.refused, signal);
  }

  /** Whether this page was asked for the link of this token, and has not opened it yet. */
  expects(token: string): boolean {
    return this.requests.has(token);
  }

  /** The local connection of that link is open. The caller of `open` sets its handler, in this turn or its promises. */
  takeLocal(token: string, local: MessageLink): TextHandler | undefined {
    return this.requests.get(token)?.take(local);
  }

  /** Ends its links, but not the page. */
  endLinks(): void {
    for (const link of this.links) link.abort();
  }

  /** Another control link of the same page has taken over. */
  replace(): void {
    this.send({ type: 'replaced' });
    this.stop({ clean: true, text: 'replaced' });
    this.link.close();
  }

  /** The laptop's client ends. */
  close(): void {
    this.stop({ clean: true, text: 'closed here' });
    this.link.close('going-away');
  }

  handleMessage(pieces: Message): void {
    if (this.ended !== undefined) return;
    const content = this.incoming.open(Buffer.concat(pieces));
    const message = content && decodePageMessage(content);
    this.noteAlive();
    if (message === undefined || !this.handle(message)) this.break('an invalid message');
  }

  handleDrain(): void {}

  handleClose(reason: LinkCloseReason): void {
    this.stop(reason);
  }

  /** False for what the page may not send now. */
  private handle(message: PageMessage): boolean {
    if (message.type === 'joined') {
      if (this.skew !== undefined) return false;
      const skewMs = message.time - this.clock.wallTime();
      this.skew = Math.abs(skewMs) < MIN_SKEW_MS ? 0 : skewMs;
      this.events.onJoined();
    } else if (message.type === 'failed') {
      const fault = message.reason === 'refused' ? this.kind.refused : this.kind.offline;
      this.requests.get(message.link)?.wait.reject(new WstunError(fault));
    }
    return this.skew !== undefined;
  }

  private openSocket(url: string, signal: AbortSignal): Promise<TetherLink> {
    return this.ask({ type: 'open', url }, OPEN_LIMIT_MS, signal, (local) => this.addLink(url, local));
  }

  private addLink(url: string, local: MessageLink): TetherLink {
    const since = this.clock.now();
    const events = {
      onAlive: () => this.noteAlive(),
      onEnd: () => {
        this.forget(link);
        if (!link.hasCarried) this.choice.noteSilent(this.clock.now() - since);
      },
    };
    const link: TetherLink = new TetherLink(local, events, { asked: url, remote: this.name, clock: this.clock });
    this.links.add(link);
    this.events.onLinks();
    return link;
  }

  /** @throws WstunError also too-many-links */
  private async openRequests(ticket: HttpTicket, signal: AbortSignal): Promise<PageHttpLink> {
    // A browser has six connections to a server that knows no HTTP/2, and a link needs up to three of them.
    const open = [...this.links].filter((link) => link instanceof PageHttpLink);
    if (open.length >= MAX_HTTP_LINKS) throw new WstunError('too-many-links');
    let link: PageHttpLink | undefined;
    const about = { remote: this.name, clock: this.clock, refused: this.kind.refused };
    const events = { onAlive: () => this.noteAlive(), onEnd: () => link && this.forget(link) };
    const onOpen = (opened: PageHttpLink): void => {
      link = opened;
      this.links.add(opened);
      this.events.onLinks();
    };
    const take = (local: MessageLink) => ({
      opening: openPageHttpLink(local, ticket, { ...about, ...events, onOpen }, signal),
      handleText: () => local.abort(),
    });
    const { opening } = await this.ask({ type: 'requests' }, LOCAL_LIMIT_MS, signal, take);
    return await opening;
  }

  /** Asks the page for a local connection, and gives it to `take`. */
  private async ask<T extends TextHandler>(
    message: { readonly type: 'open'; readonly url: string } | { readonly type: 'requests' },
    limitMs: number,
    signal: AbortSignal,
    take: (local: MessageLink) => T,
  ): Promise<T> {
    if (this.ended !== undefined && !signal.aborted) throw new WstunError('link-lost');
    const token = randomBytes(16).toString('hex');
    const wait = new AbortableWait<T>({
      ...{ clock: this.clock, signal, limitMs },
      onExpired: () => wait.reject(new WstunError('link-slow')),
      onSettled: () => this.requests.delete(token),
    });
    const settle = (local: MessageLink): T => {
      const taken = take(local);
      wait.resolve(taken);
      return taken;
    };
    if (!wait.isOver) {
      this.requests.set(token, { wait, take: settle });
      this.send({ ...message, link: token });
    }
    return wait.promise;
  }

  private send(message: LaptopMessage): void {
    if (this.ended !== undefined) return;
    this.link.send([this.outgoing.seal(encodeMessage(message))]);
    if (this.link.queuedBytes > MAX_CONTROL_QUEUE_BYTES) this.break('the page does not read');
  }

  private noteAlive(): void {
    this.heardAt = this.clock.now();
  }

  private scheduleTick(): Timer {
    const timer = this.clock.setTimeout(() => {
      this.nextTick = this.scheduleTick();
      this.tick();
    }, PING_MS);
    timer.unref();
    return timer;
  }

  private tick(): void {
    const silentMs = this.clock.now() - this.heardAt;
    if (silentMs >= GONE_MS) return this.break('the page stopped answering');
    this.send({ type: 'ping' });
    if (silentMs >= SILENT_MS) this.events.onSilent();
  }

  private forget(link: PageLink): void {
    if (this.links.delete(link)) this.events.onLinks();
  }

  private break(text: string): void {
    this.stop({ clean: false, text });
    this.link.abort();
  }

  private stop(reason: LinkCloseReason): void {
    if (this.ended !== undefined) return;
    this.ended = reason;
    this.clock.clearTimeout(this.nextTick);
    this.endLinks();
    for (const { wait } of [...this.requests.values()]) wait.reject(new WstunError('link-lost'));
    this.events.onEnd(reason);
  }
}
