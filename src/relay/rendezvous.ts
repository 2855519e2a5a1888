/**
 * Where clients and named exits meet: exits register over a control link, a client's link calls its exit, and the data
 * link with which the exit answers is spliced to it (docs/protocol.md §11). Nothing here can read what the two then
 * say to each other.
 */
import { randomBytes } from 'node:crypto';
import type { TicketFields, TicketOpener } from '../crypto/ticket.ts';
import type { WireFaultName } from '../errors.ts';
import { parseIp } from '../net/ip.ts';
import type { Logger } from '../observability/logger.ts';
import type { ControlLink } from '../transport/control-link.ts';
import {
  encodeControl,
  encodeNotice,
  OCCUPIED_FEATURE,
  SEEN_FEATURE,
  TAKEN_FEATURE,
  WHEN_FREE_FEATURE,
} from '../transport/control-messages.ts';
import type { LinkCloseReason, Message, MessageLink, MessageLinkHandler } from '../transport/message-link.ts';
import { AnnouncementPaces, followAnnouncements } from './announcements.ts';
import { ExitPeers } from './exit-peers.ts';
import { hasShare, LINKS_OF_CALL } from './link-shares.ts';
import { RendezvousQueue } from './rendezvous-queue.ts';
import { Splices } from './splices.ts';

export interface RendezvousLimits {
  /** From a client's link to the data link that answers it, ms. */
  readonly answerMs: number;
  /** Calls that one exit has not answered yet. */
  readonly callsPerExit: number;
  /** Clients that wait, called for or in line, in all. */
  readonly calls: number;
}

const DEFAULT_LIMITS: RendezvousLimits = {
  // Two round trips, and a TLS handshake on a bad line. Below the 10 s of a client's handshake, so that it hears why.
  answerMs: 8_000,
  // At 100 ms an answer, 1,280 clients a second: half of what an exit dials at once, so that a second call finds room.
  callsPerExit: 128,
  // A thousand clients of each of a few exits come back at once. Each holds a link, and 300 bytes here.
  calls: 4_096,
};

export interface RendezvousOptions {
  readonly tickets: Pick<TicketOpener, 'add' | 'remove'>;
  readonly logger: Logger;
  /**
   * An exit has announced a new list, base64url: worth keeping, so that its clients are told the truth after a restart.
   */
  readonly onPeers?: (exit: string, keys: readonly string[]) => void;
  /** Links that the relay can still take; default: any number. */
  readonly linksFree?: () => number;
  readonly limits?: Partial<RendezvousLimits>;
}

/** What a ticket said. */
type Place = Pick<TicketFields, 'role' | 'destination'>;

/** A client that waits for its exit, held back meanwhile. */
interface Call {
  readonly exit: string;
  readonly desk: Desk;
  readonly client: MessageLink;
  readonly peer: string;
  /** What came before the pause took hold: at most one read. */
  readonly early: Message[];
  limit: NodeJS.Timeout | undefined;
  /** Once the exit has been called. */
  token: string | undefined;
  calledAt: number;
  /** The client has left; the exit, which was called, dials all the same. */
  hasLeft: boolean;
}

/** What the relay keeps of an exit, whether it is here or not. */
interface Desk {
  readonly paces: AnnouncementPaces;
  readonly line: RendezvousQueue<Call>;
  /** Called and in line. */
  readonly calls: Set<Call>;
  control: ControlLink | undefined;
  /** The exit of that link understands `occupied`. */
  hearsOccupied: boolean;
  nextTurn: NodeJS.Timeout | undefined;
}

export class Rendezvous {
  private readonly options: RendezvousOptions;
  private readonly limits: RendezvousLimits;
  private readonly peers: ExitPeers;
  private readonly desks = new Map<string, Desk>();
  /** Those that were called for, by token. */
  private readonly called = new Map<string, Call>();
  private readonly splices: Splices;
  /** Clients that wait, and places of those that have left. */
  private waiting = 0;
  private closed = false;

  constructor(options: RendezvousOptions) {
    this.options = options;
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.peers = new ExitPeers(options.tickets);
    this.splices = new Splices((exit) =>
      options.logger.info({ exit }, 'a client and its exit sent nothing for two minutes; their links were closed'),
    );
  }

  /** Any link that the gate let in but those for the relay's own exit. */
  serve(link: MessageLink, admitted: Place & { readonly peer: string; readonly features?: number }): void {
    const { role, destination, peer, features = 0 } = admitted;
    // Its upgrade was under way when this relay began to stop.
    if (this.closed) this.goodbye(link);
    else if (role === 'client') this.call(link, destination, peer);
    else if (destination === '') this.register(link, peer, features);
    else this.answer(link, peer, destination);
  }

  /** Whether that exit was called with this token, and has not answered yet. */
  awaits(exit: string, token: string): boolean {
    return this.called.get(token)?.exit === exit;
  }

  /** Tells a client in one message that its exit is not to be had, and closes. @param reason for the log */
  turnAway(link: MessageLink, peer: string, reason = 'its exit is not connected'): void {
    this.tell(link, peer, 'exit-absent', reason);
  }

  /** Tells a client in one message to try later, and closes. @param reason for the log */
  turnAwayFull(link: MessageLink, peer: string, reason = 'there is too little memory left'): void {
    this.tell(link, peer, 'overloaded', reason);
  }

  private tell(link: MessageLink, peer: string, fault: WireFaultName, reason: string): void {
    this.options.logger.info({ peer, remote: link.remote, reason }, 'a client was rejected');
    link.setHandler(IGNORE);
    link.send(encodeNotice(fault));
    link.close();
  }

  /** Tells the peer of a ticket for retired keys so, provably, and closes. */
  turnAwayRetired(link: MessageLink, peer: string, { role, destination }: Place, proof: Buffer): void {
    this.options.logger.info({ peer, remote: link.remote }, 'an invite from before the key rotation was used');
    link.setHandler(IGNORE);
    if (role === 'client') link.send(encodeNotice('keys-rotated', proof));
    else if (destination === '') link.send(encodeControl({ type: 'rotated', proof: proof.toString('hex') }));
    link.close();
  }

  /** What an exit announced before a restart; known when it returns, and in parts until `restored`. */
  restore(exit: string, keys: readonly string[]): void {
    this.peers.restore(exit, keys);
  }

  /** Resolves when all that was to be restored is known. */
  restored(): Promise<void> {
    return this.peers.restored();
  }

  /** Ends everything of exits that may not register any more. @param names those that still may, with the same keys */
  keepOnly(names: ReadonlySet<string>): void {
    for (const exit of new Set([...this.desks.keys(), ...this.splices.exits, ...this.peers.exits])) {
      if (!names.has(exit)) this.forget(exit);
    }
  }

  /**
   * Says goodbye to everyone at once, since nothing is gained by waiting: what runs over a splice lies with its two
   * ends, which can meet again at another relay, or at this one once it is back. Clients that wait hear no notice:
   * their exit may be well.
   */
  close(): void {
    this.closed = true;
    this.peers.close();
    for (const desk of this.desks.values()) {
      clearTimeout(desk.nextTurn);
      const { control } = desk;
      desk.control = undefined;
      control?.end('going-away');
      for (const call of [...desk.calls]) {
        this.settle(call);
        if (!call.hasLeft) this.goodbye(call.client);
      }
    }
    this.desks.clear();
    this.splices.close();
  }

  private goodbye(link: MessageLink): void {
    link.setHandler(IGNORE);
    link.close('going-away');
  }

  private forget(exit: string): void {
    this.peers.drop(exit);
    this.options.onPeers?.(exit, []);
    const desk = this.desks.get(exit);
    this.desks.delete(exit);
    if (desk !== undefined) this.endDesk(desk);
    this.splices.abortAll(exit);
  }

  private endDesk(desk: Desk): void {
    const { control } = desk;
    desk.control = undefined;
    control?.end();
    this.turnAwayCallers(desk);
  }

  // ── exits ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  private deskOf(exit: string): Desk {
    const known = this.desks.get(exit);
    if (known !== undefined) return known;
    const { callsPerExit, calls } = this.limits;
    const desk: Desk = {
      paces: new AnnouncementPaces(performance.now()),
      line: new RendezvousQueue({ called: callsPerExit, waiting: Math.ceil(calls / 2) }),
      calls: new Set(),
      control: undefined,
      hearsOccupied: false,
      nextTurn: undefined,
    };
    this.desks.set(exit, desk);
    return desk;
  }

  private register(link: MessageLink, exit: string, features: number): void {
    const desk = this.deskOf(exit);
    const older = desk.control;
    const hearsTaken = (features & TAKEN_FEATURE) !== 0;
    if (older !== undefined && (features & WHEN_FREE_FEATURE) !== 0) return this.sendAway(link, exit);
    const newer = followAnnouncements(link, desk.paces, {
      onList: (keys) => {
        if (desk.control === newer) this.announce(exit, newer, keys, hearsTaken);
      },
      onEnd: (reason) => {
        if (desk.control === newer) this.lose(exit, desk, link.remote, reason);
      },
    });
    desk.control = newer;
    this.options.logger.info({ exit, remote: link.remote, replaced: older?.remote }, 'exit registered');
    const address = addressOf(link.remote);
    if ((features & SEEN_FEATURE) !== 0 && address !== undefined) newer.send({ type: 'seen', address });
    older?.send({ type: desk.hearsOccupied ? 'occupied' : 'replaced' });
    older?.end();
    desk.hearsOccupied = (features & OCCUPIED_FEATURE) !== 0;
    this.callNext(desk);
  }

  /** One that gave way to another, and asks whether its place is free again. */
  private sendAway(link: MessageLink, exit: string): void {
    this.options.logger.info(
      { exit, remote: link.remote },
      'an exit waits, because another exit is registered under its name',
    );
    link.setHandler(IGNORE);
    link.send(encodeControl({ type: 'occupied' }));
    link.close();
  }

  private announce(exit: string, control: ControlLink, keys: readonly string[], hearsTaken: boolean): void {
    const { logger, onPeers } = this.options;
    const isNew = this.peers.replace(exit, keys, {
      handleDone: () => control.send({ type: 'registered' }),
      handleShort: (taken, wanted) => {
        logger.warn({ exit, taken, wanted }, 'an exit announced too many clients; the relay accepts only some of them');
        if (hearsTaken) control.send({ type: 'taken', keys: taken, of: wanted });
      },
    });
    if (!isNew) return;
    logger.info({ exit, keys: keys.length }, 'exit announced its clients');
    onPeers?.(exit, keys);
  }

  /** Its clients stay known: they are told that it is not there, not that they are strangers. */
  private lose(exit: string, desk: Desk, remote: string, { text }: LinkCloseReason): void {
    desk.control = undefined;
    this.options.logger.info({ exit, remote, reason: text }, 'exit disconnected');
    this.turnAwayCallers(desk);
  }

  // ── clients ────────────────────────────────────────────────────────────────────────────────────────────────────────

  private call(client: MessageLink, exit: string, peer: string): void {
    const desk = this.desks.get(exit);
    if (desk?.control === undefined) return this.turnAway(client, peer);
    if (!this.hasLinks(exit, desk))
      return this.turnAwayFull(client, peer, 'its exit already uses its share of the links');
    const call: Call = {
      exit,
      desk,
      client,
      peer,
      limit: undefined,
      early: [],
      token: undefined,
      calledAt: 0,
      hasLeft: false,
    };
    // One exit alone gets half of the places, so that there are always some for others.
    const hasPlace = desk.calls.size < this.limits.calls - this.waiting;
    if (!hasPlace || !desk.line.join(peer, call, performance.now()))
      return this.turnAwayFull(client, peer, 'too many clients wait for this exit');
    desk.calls.add(call);
    this.waiting += 1;
    call.limit = setTimeout(() => this.giveUp(call), this.limits.answerMs);
    client.pause();
    client.setHandler(new Waiting(call, () => this.leave(call)));
    this.callNext(desk);
  }

  /** The data links that are to come for those who wait count as taken. */
  private hasLinks(exit: string, { calls }: Desk): boolean {
    const held = 1 + LINKS_OF_CALL * (calls.size + this.splices.countOf(exit));
    return hasShare(held, (this.options.linksFree?.() ?? Number.POSITIVE_INFINITY) - this.waiting);
  }

  /** Calls the exit for as many as have a turn, and comes back when time gives the next one its turn. */
  private callNext(desk: Desk): void {
    const { line, control } = desk;
    clearTimeout(desk.nextTurn);
    if (control === undefined) return;
    const now = performance.now();
    for (let call = line.next(now); call !== undefined; call = line.next(now)) {
      call.token = randomBytes(16).toString('hex');
      call.calledAt = now;
      this.called.set(call.token, call);
      control.send({ type: 'call', token: call.token });
    }
    const waitMs = line.waitMs(now);
    if (waitMs !== undefined) desk.nextTurn = setTimeout(() => this.callNext(desk), Math.max(1, waitMs)).unref();
  }

  /** Its place at the exit stays taken until that has answered: it dials for nobody now. */
  private leave(call: Call): void {
    if (call.token === undefined) this.settle(call);
    call.hasLeft = true;
  }

  /** The call is over, whatever came of it: its place, token and timer are free. */
  private settle(call: Call): void {
    const { desk, token, peer } = call;
    clearTimeout(call.limit);
    if (token !== undefined) this.called.delete(token);
    if (!desk.calls.delete(call)) return;
    this.waiting -= 1;
    if (token === undefined) desk.line.leave(peer, call);
    else desk.line.answered(peer);
  }

  private giveUp(call: Call): void {
    const { desk, client, peer, token, calledAt, hasLeft } = call;
    this.settle(call);
    this.callNext(desk);
    if (hasLeft) return;
    // An exit that was called late had no time to answer.
    const wasLate = token === undefined || performance.now() - calledAt < this.limits.answerMs / 2;
    if (wasLate) this.turnAwayFull(client, peer, 'the exit could not be asked in time');
    else this.turnAway(client, peer, 'its exit did not answer');
  }

  private turnAwayCallers(desk: Desk): void {
    clearTimeout(desk.nextTurn);
    for (const call of [...desk.calls]) {
      this.settle(call);
      if (!call.hasLeft) this.turnAway(call.client, call.peer, 'its exit disconnected');
    }
  }

  private answer(link: MessageLink, exit: string, token: string): void {
    const call = this.called.get(token);
    const isIts = call?.exit === exit;
    if (isIts) this.settle(call);
    if (isIts && !call.hasLeft) {
      this.join(call, link);
    } else {
      this.options.logger.debug({ exit, remote: link.remote }, 'an exit answered a request that does not exist');
      link.setHandler(IGNORE);
      link.close();
    }
    if (isIts) this.callNext(call.desk);
  }

  private join({ exit, client, peer, early }: Call, link: MessageLink): void {
    const { logger } = this.options;
    const since = performance.now();
    logger.info({ exit, peer, remote: client.remote }, 'a client was connected to its exit');
    for (const message of early) link.send(message);
    this.splices.join(exit, client, link, () => {
      const seconds = Math.round((performance.now() - since) / 1000);
      logger.info({ exit, peer, remote: client.remote, seconds }, 'a client was disconnected from its exit');
    });
  }
}

class Waiting implements MessageLinkHandler {
  private readonly call: Pick<Call, 'early'>;
  readonly handleClose: () => void;

  constructor(call: Pick<Call, 'early'>, onClose: () => void) {
    this.call = call;
    this.handleClose = onClose;
  }

  handleMessage(message: Message): void {
    this.call.early.push(message);
  }

  handleDrain(): void {}
}

const IGNORE: MessageLinkHandler = { handleMessage() {}, handleDrain() {}, handleClose() {} };

/** `192.0.2.1:80`, `[2001:db8::1]:80`; undefined where the link has no address. */
function addressOf(remote: string): string | undefined {
  const address = remote.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  return parseIp(address) === undefined ? undefined : address;
}
