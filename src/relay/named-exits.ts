/**
 * The named exits of a relay and their clients (docs/protocol.md §11): who is registered, and which two links are
 * joined. Nothing here can read what they send each other. What is at another node is reached by `Rendezvous`.
 */
import { type Clock, systemClock } from '../clock.ts';
import { FURTHER_FEATURE, type TicketOpener } from '../crypto/ticket.ts';
import { type RateLimit, TokenBucket } from '../limits/token-bucket.ts';
import { addressIn } from '../net/host-port.ts';
import { parseIp } from '../net/ip.ts';
import type { Logger } from '../observability/logger.ts';
import { ControlLink } from '../transport/control-link.ts';
import {
  ELSEWHERE_FEATURE,
  INSTANCE_FEATURE,
  OCCUPIED_FEATURE,
  SEEN_FEATURE,
  TAKEN_FEATURE,
  WHEN_FREE_FEATURE,
} from '../transport/control-messages.ts';
import type { CloseCode, LinkCloseReason, MessageLink } from '../transport/message-link.ts';
import { type AnnouncementEvents, AnnouncementLimiters, Announcements } from './announcements.ts';
import { type AnnouncedHandler, ExitPeers } from './exit-peers.ts';
import type { ForwardedPeers } from './forwarded-peers.ts';
import { DEFAULT_HELD_CLIENT_LIMITS, type ExitClients, type HeldClientLimits, HeldClients } from './held-clients.ts';
import { Rejections, type TicketScope } from './rejections.ts';
import { ALONE, type Call, type CallOutcome, type Rendezvous, type RendezvousHandler } from './rendezvous.ts';
import { RendezvousCounts } from './rendezvous-counts.ts';
import { Splices } from './splices.ts';

export interface NamedExitsOptions {
  readonly tickets: Pick<TicketOpener, 'add' | 'remove'>;
  readonly logger: Logger;
  /** 32 hex digits, of all nodes at which a name has one place: by it an exit finds one relay behind two URLs. */
  readonly instance: string;
  /** A new list, base64url. Saved, it lets a restarted relay tell these clients that their exit is absent. */
  readonly onPeers?: (exit: string, keys: readonly string[]) => void;
  /** Whether an exit of that name may register, by the current list. Default: any. */
  readonly mayRegister?: (exit: string) => boolean;
  /** Links that the relay can still accept; default: any number. */
  readonly linksFree?: () => number;
  /** So many of them are for new sessions; default: none. */
  readonly linksKept?: () => number;
  /** Default: nobody reads them. */
  readonly counts?: RendezvousCounts;
  readonly limits?: Partial<HeldClientLimits>;
  /** The other nodes of this relay. Default: there are none. */
  readonly rendezvous?: Rendezvous;
  readonly clock?: Clock;
}

/** Of one exit: what it answers at most while all its requests are those of one node (held-clients.ts). */
const ANSWERS_ELSEWHERE: RateLimit = { perSecond: 1_280, burst: 1_024 };

/** What the relay keeps of an exit, connected or not. */
interface ExitEntry {
  readonly limiters: AnnouncementLimiters;
  /** Answers to requests of other nodes. */
  readonly answersElsewhere: TokenBucket;
  /** Has the control link, if the exit is connected. */
  readonly clients: ExitClients;
  /** When that link came, by the clock, ms. */
  registeredAt: number;
  /** The exit of that link understands `occupied`. */
  understandsOccupied: boolean;
  /** It can be called to other relays. */
  understandsElsewhere: boolean;
  /** Tells the other nodes that the link is not here any more. */
  withdraw: () => void;
}

export class NamedExits implements RendezvousHandler {
  private readonly clock: Clock;
  private readonly rendezvous: Rendezvous;
  private readonly peers: ExitPeers;
  private readonly exits = new Map<string, ExitEntry>();
  private readonly heldClients: HeldClients;
  private readonly splices: Splices;
  private readonly rejections: Rejections;
  private closed = false;

  constructor(private readonly options: NamedExitsOptions) {
    const { tickets, logger, limits, clock = systemClock } = options;
    const { linksFree = () => Number.POSITIVE_INFINITY, linksKept = () => 0 } = options;
    const { counts = new RendezvousCounts() } = options;
    this.clock = clock;
    this.rendezvous = options.rendezvous ?? ALONE;
    this.peers = new ExitPeers(tickets, { clock });
    this.rejections = new Rejections(logger, counts.refused);
    this.splices = new Splices(
      (exit) => logger.info({ exit }, 'a client and its exit sent nothing for two minutes; their links were closed'),
      clock,
      counts.forwarded,
    );
    this.heldClients = new HeldClients({
      limits: { ...DEFAULT_HELD_CLIENT_LIMITS, ...limits },
      splices: this.splices,
      rejections: this.rejections,
      linksFree,
      linksKept,
      ...{ logger, counts },
      tokenPrefix: this.rendezvous.tokenPrefix,
      clock,
    });
    this.rendezvous.setHandler(this);
  }

  /** Any link that the gate admitted, except those for the relay's own exit. */
  serve(link: MessageLink, admitted: TicketScope & { readonly peer: string; readonly features?: number }): void {
    const { role, destination, peer, features = 0 } = admitted;
    // Its upgrade was under way when this relay began to stop.
    if (this.closed) this.rejections.closeGoingAway(link);
    else if (role === 'client') this.hold(link, destination, peer, (features & FURTHER_FEATURE) !== 0);
    else if (destination === '') this.register(link, peer, features);
    else if (this.rendezvous.isOthers(destination)) this.rendezvous.passAnswer(peer, destination, link);
    else this.heldClients.answer(link, peer, destination);
  }

  /**
   * Whether that exit has a request with this token, and has not answered it yet. Of a request of another node only
   * that one knows: here so many count as such as an exit may answer. To be asked once for each answer.
   */
  isRequested(exit: string, token: string): boolean {
    if (!this.rendezvous.isOthers(token)) return this.heldClients.isRequested(exit, token);
    return this.entryOf(exit).answersElsewhere.acquire(this.clock.now());
  }

  /** Those that are connected, and since when, by the clock, ms. */
  get registered(): readonly { readonly name: string; readonly since: number }[] {
    const connected = [...this.exits].filter(([, { clients }]) => clients.control !== undefined);
    return connected.map(([name, { registeredAt: since }]) => ({ name, since }));
  }

  /** Whose links are spliced here. */
  get forwarded(): Pick<ForwardedPeers, 'size' | 'all'> {
    return this.splices.peers;
  }

  /** Clients that wait for their exit. */
  get held(): number {
    return this.heldClients.size;
  }

  /** What an exit announced before a restart. Some keys are known only when `restored` resolves. */
  restoreKeys(exit: string, keys: readonly string[]): void {
    this.peers.restore(exit, keys);
  }

  /** Resolves when all keys that were to be restored are known. */
  restored(): Promise<void> {
    return this.peers.restored();
  }

  /** Ends everything of exits that may not register any more. @param names those that may, with the same keys */
  dropExitsExcept(names: ReadonlySet<string>): void {
    for (const exit of new Set([...this.exits.keys(), ...this.splices.exits, ...this.peers.exits])) {
      if (!names.has(exit)) this.dropExit(exit);
    }
  }

  /** All links at once: a session over a splice belongs to its two ends, which can meet again anywhere. */
  close(): void {
    this.closed = true;
    this.peers.close();
    for (const { clients, withdraw } of this.exits.values()) {
      withdraw();
      endControl(clients, 'going-away');
      this.heldClients.closeAll(clients);
    }
    this.exits.clear();
    this.splices.close();
  }

  private hold(link: MessageLink, exit: string, peer: string, isFurther: boolean): void {
    const isHere = this.exits.get(exit)?.clients.control !== undefined;
    if (!isHere && !this.rendezvous.hasOthers) this.rejections.rejectAbsent(link, peer);
    else this.heldClients.hold(this.entryOf(exit).clients, link, peer, isFurther);
  }

  // ── for other nodes ────────────────────────────────────────────────────────────────────────────────────────────────

  handleCall(exit: string, call: Call): CallOutcome {
    const entry = this.exits.get(exit);
    const control = entry?.clients.control;
    if (entry === undefined || control === undefined) return 'absent';
    const { token, relay } = call;
    if (relay !== undefined && !entry.understandsElsewhere) return 'unreachable';
    control.send({ type: 'call', token, ...(relay !== undefined && { relay }) });
    return 'called';
  }

  handleForward(exit: string, link: MessageLink, peer: string): void {
    const clients = this.exits.get(exit)?.clients;
    if (this.closed) this.rejections.closeGoingAway(link);
    else if (clients?.control === undefined) this.rejections.rejectAbsent(link, peer);
    else this.heldClients.hold(clients, link, peer, false);
  }

  handleAnswer(exit: string, token: string, link: MessageLink): void {
    if (this.closed) this.rejections.closeGoingAway(link);
    else this.heldClients.answer(link, exit, token);
  }

  handleKeys(exit: string, keys: readonly string[]): void {
    if (this.closed || this.exits.get(exit)?.clients.control !== undefined) return;
    // The other node may still have an exit that was removed, or have one already whose entry is not read here.
    if (this.options.mayRegister?.(exit) === false) return;
    if (keys.length === 0) this.peers.drop(exit);
    else this.peers.replace(exit, keys, NOBODY_WAITS);
    this.options.onPeers?.(exit, keys);
  }

  handleReplaced(exit: string): void {
    const entry = this.exits.get(exit);
    if (entry?.clients.control !== undefined) this.endReplaced(entry, entry.clients.control);
  }

  /** Has an exit of another node dial back for a held client. */
  private async callElsewhere(exit: string, token: string): Promise<void> {
    const outcome = await this.rendezvous.call(exit, token);
    if (outcome !== 'called') this.heldClients.rejectCall(token, outcome);
  }

  // ── registrations ──────────────────────────────────────────────────────────────────────────────────────────────────

  private dropExit(exit: string): void {
    this.peers.drop(exit);
    this.options.onPeers?.(exit, []);
    const entry = this.exits.get(exit);
    this.exits.delete(exit);
    if (entry !== undefined) {
      entry.withdraw();
      endControl(entry.clients);
      this.heldClients.rejectAll(entry.clients);
    }
    this.splices.abortAll(exit);
  }

  private entryOf(exit: string): ExitEntry {
    const known = this.exits.get(exit);
    if (known !== undefined) return known;
    const callElsewhere = (token: string): void => void this.callElsewhere(exit, token);
    const entry: ExitEntry = {
      limiters: new AnnouncementLimiters(this.clock.now()),
      answersElsewhere: new TokenBucket(ANSWERS_ELSEWHERE, this.clock.now()),
      clients: this.heldClients.addExit(exit, this.rendezvous.hasOthers ? callElsewhere : undefined),
      registeredAt: 0,
      understandsOccupied: false,
      understandsElsewhere: false,
      withdraw: () => {},
    };
    this.exits.set(exit, entry);
    return entry;
  }

  private register(link: MessageLink, exit: string, features: number): void {
    const entry = this.entryOf(exit);
    const { clients } = entry;
    const older = clients.control;
    // It gave way to another exit before, and asks whether its registration is free again.
    const isTaken = older !== undefined || this.rendezvous.isElsewhere(exit);
    const instance = (features & INSTANCE_FEATURE) === 0 ? undefined : this.options.instance;
    if (isTaken && (features & WHEN_FREE_FEATURE) !== 0) return this.rejections.rejectOccupied(link, exit, instance);
    const understandsTaken = (features & TAKEN_FEATURE) !== 0;
    const events: AnnouncementEvents = {
      onList: (keys) => {
        if (clients.control === newer) this.announce(exit, newer, keys, understandsTaken);
      },
      onUnreached: (token) => this.rendezvous.noteUnreached(exit, token),
      onEnd: (reason) => {
        if (clients.control === newer) this.handleExitLost(entry, link.remote, reason);
      },
    };
    const announcements = new Announcements(link, entry.limiters, events, this.clock);
    const newer: ControlLink = new ControlLink(link, announcements, this.clock);
    clients.control = newer;
    entry.registeredAt = this.clock.now();
    this.options.logger.info({ exit, remote: link.remote, replaced: older?.remote }, 'exit registered');
    if (instance !== undefined) newer.send({ type: 'instance', id: instance });
    const address = addressOf(link.remote);
    if ((features & SEEN_FEATURE) !== 0 && address !== undefined) newer.send({ type: 'seen', address });
    if (older === undefined) entry.withdraw = this.rendezvous.announce(exit);
    else this.endReplaced(entry, older);
    entry.understandsOccupied = (features & OCCUPIED_FEATURE) !== 0;
    entry.understandsElsewhere = (features & ELSEWHERE_FEATURE) !== 0;
    this.heldClients.sendNext(clients);
  }

  private endReplaced({ understandsOccupied }: ExitEntry, control: ControlLink): void {
    control.send({ type: understandsOccupied ? 'occupied' : 'replaced' });
    control.end();
  }

  private announce(exit: string, control: ControlLink, keys: readonly string[], understandsTaken: boolean): void {
    const { logger, onPeers } = this.options;
    const isNew = this.peers.replace(exit, keys, {
      handleDone: () => control.send({ type: 'registered' }),
      handleShort: (taken, wanted) => {
        logger.warn({ exit, taken, wanted }, 'an exit announced too many clients; the relay accepts only some of them');
        if (understandsTaken) control.send({ type: 'taken', keys: taken, of: wanted });
      },
    });
    if (!isNew) return;
    logger.info({ exit, keys: keys.length }, 'exit announced its clients');
    onPeers?.(exit, keys);
    this.rendezvous.shareKeys(exit, keys);
  }

  /** The keys of its clients stay known: these clients are told that the exit is absent, not rejected as unknown. */
  private handleExitLost({ clients, withdraw }: ExitEntry, remote: string, { text }: LinkCloseReason): void {
    clients.control = undefined;
    withdraw();
    this.options.logger.info({ exit: clients.exit, remote, reason: text }, 'exit disconnected');
    this.heldClients.rejectAll(clients);
  }
}

/** The exit is told by the node at which it is registered. */
const NOBODY_WAITS: AnnouncedHandler = { handleDone() {}, handleShort() {} };

/** The exit counts as absent before its link ends. */
function endControl(clients: ExitClients, code?: CloseCode): void {
  const { control } = clients;
  clients.control = undefined;
  control?.end(code);
}

/** `192.0.2.1:80`, `[2001:db8::1]:80`; undefined where the link has no address. */
function addressOf(remote: string): string | undefined {
  const address = addressIn(remote);
  return parseIp(address) === undefined ? undefined : address;
}
