/**
 * The relay's end of an exit's control link: puts the lists together that the exit announces, and takes them at a pace.
 * What comes faster waits unread at the exit; of several lists that wait, the last is taken. Does not know what a list
 * is for.
 */
import { type ControlHandler, ControlLink } from '../transport/control-link.ts';
import { type ControlMessage, MAX_ANNOUNCED_KEYS } from '../transport/control-messages.ts';
import type { LinkCloseReason, MessageLink } from '../transport/message-link.ts';
import { Pace, type Rate } from './notice-rate.ts';

/** Lists that are acted upon: an access list changes once in a while, or a few times in a row by hand. */
const LISTS: Rate = { perSecond: 1, burst: 4 };
/**
 * Lists that are read: the longest takes 5 ms. An exit of an older version may send two a second while its file
 * changes.
 */
const LISTS_READ: Rate = { perSecond: 4, burst: 8 };
/** Any messages, pings too. The longest list is ten of them, and 10,000 where somebody writes one for each key. */
const MESSAGES: Rate = { perSecond: 200, burst: 2_000 };
/**
 * One read can bring so many tiny messages before a pause takes hold. Who owes more cannot be slowed down, and is left.
 */
const MAX_OWED = 4_000;

/** At most, before something is read again: the link must not be taken for a silent one. */
const MAX_REST_MS = 5_000;

/** Of one exit, whichever control link it has: a new link is no new budget. */
export class AnnouncementPaces {
  readonly lists: Pace;
  readonly listsRead: Pace;
  readonly messages: Pace;

  constructor(now: number) {
    this.lists = new Pace(LISTS, now);
    this.listsRead = new Pace(LISTS_READ, now);
    this.messages = new Pace(MESSAGES, now);
  }
}

export interface AnnouncementEvents {
  onList(keys: readonly string[]): void;
  /** The last call. */
  onEnd(reason: LinkCloseReason): void;
}

/** Takes the link's handler. */
export function followAnnouncements(
  link: MessageLink,
  paces: AnnouncementPaces,
  events: AnnouncementEvents,
): ControlLink {
  return new ControlLink(link, new Announcements(link, paces, events));
}

class Announcements implements ControlHandler {
  private readonly link: MessageLink;
  private readonly paces: AnnouncementPaces;
  private readonly events: AnnouncementEvents;
  private keys: string[] = [];
  /** Complete, and not acted upon yet. */
  private next: readonly string[] | undefined;
  private turn: NodeJS.Timeout | undefined;
  private rest: NodeJS.Timeout | undefined;

  constructor(link: MessageLink, paces: AnnouncementPaces, events: AnnouncementEvents) {
    this.link = link;
    this.paces = paces;
    this.events = events;
  }

  handlePing(): boolean {
    return this.readOn();
  }

  handleControl(message: ControlMessage): boolean {
    if (message.type !== 'bearers') return false;
    this.keys.push(...message.keys);
    if (this.keys.length > MAX_ANNOUNCED_KEYS) return false;
    if (!message.more) this.complete();
    return this.readOn();
  }

  handleEnd(reason: LinkCloseReason): void {
    clearTimeout(this.turn);
    clearTimeout(this.rest);
    this.events.onEnd(reason);
  }

  private complete(): void {
    this.paces.listsRead.spend(performance.now());
    this.next = this.keys;
    this.keys = [];
    if (this.turn === undefined) this.takeTurn();
  }

  private takeTurn(): void {
    this.turn = undefined;
    const list = this.next;
    const now = performance.now();
    if (list === undefined) return;
    if (this.paces.lists.take(now)) {
      this.next = undefined;
      this.events.onList(list);
    } else {
      this.turn = setTimeout(() => this.takeTurn(), this.paces.lists.waitMs(now)).unref();
    }
  }

  /** False: it has sent far more than it may. */
  private readOn(): boolean {
    const now = performance.now();
    const owed = this.paces.messages.spend(now);
    if (owed > MAX_OWED) return false;
    const waitMs = Math.max(this.paces.messages.waitMs(now), this.paces.listsRead.waitMs(now));
    if (waitMs === 0 || this.rest !== undefined) return true;
    this.link.pause();
    this.rest = setTimeout(
      () => {
        this.rest = undefined;
        this.link.resume();
      },
      Math.min(waitMs, MAX_REST_MS),
    ).unref();
    return true;
  }
}
