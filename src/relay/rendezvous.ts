/**
 * Where clients and named exits meet: exits register over a control link, a client's link calls its exit, and the data link with
 * which the exit answers is spliced to it (docs/protocol.md §2.5). Nothing here can read what the two then say to each other.
 */
import { randomBytes } from 'node:crypto';
import type { TicketFields, TicketOpener } from '../crypto/ticket.ts';
import type { WireFaultName } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import { type ControlHandler, ControlLink } from '../transport/control-link.ts';
import { type ControlMessage, encodeControl, encodeNotice, MAX_ANNOUNCED_KEYS } from '../transport/control-messages.ts';
import type { LinkCloseReason, Message, MessageLink, MessageLinkHandler } from '../transport/message-link.ts';
import { ExitBearers } from './exit-bearers.ts';
import { splice } from './splice.ts';

export interface RendezvousLimits {
  /** From a client's link to the data link that answers it, ms. */
  readonly answerMs: number;
  /** Clients that wait for one exit. */
  readonly callsPerExit: number;
  /** Clients that wait, in all. */
  readonly calls: number;
}

const DEFAULT_LIMITS: RendezvousLimits = {
  // Two round trips, and a TLS handshake on a bad line. Below the 10 s of a client's handshake, so that it hears why.
  answerMs: 8_000,
  // At 100 ms an answer, 1,280 clients a second. Each holds a link, and 300 bytes here.
  callsPerExit: 128,
  calls: 1_024,
};

export interface RendezvousOptions {
  readonly tickets: Pick<TicketOpener, 'add' | 'remove'>;
  readonly logger: Logger;
  /** An exit has announced a new list, base64url: worth keeping, so that its clients are told the truth after a restart. */
  readonly onBearers?: (exit: string, keys: readonly string[]) => void;
  readonly limits?: Partial<RendezvousLimits>;
}

/** What a ticket said. */
type Place = Pick<TicketFields, 'role' | 'destination'>;

/** A client that waits for its exit, held back meanwhile. */
interface Call {
  readonly exit: string;
  readonly client: MessageLink;
  readonly bearer: string;
  readonly limit: NodeJS.Timeout;
  /** What came before the pause took hold: at most one read. */
  readonly early: Message[];
}

export class Rendezvous {
  readonly #options: RendezvousOptions;
  readonly #limits: RendezvousLimits;
  readonly #bearers: ExitBearers;
  readonly #exits = new Map<string, ControlLink>();
  /** By token. */
  readonly #calls = new Map<string, Call>();
  /** Exit to both links of each pair. */
  readonly #splices = new Map<string, Set<readonly MessageLink[]>>();
  #closed = false;

  constructor(options: RendezvousOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#bearers = new ExitBearers(options.tickets);
  }

  /** Any link that the gate let in but those for the relay's own exit. */
  serve(link: MessageLink, admitted: Place & { readonly bearer: string }): void {
    const { role, destination, bearer } = admitted;
    // Its upgrade was under way when this relay began to stop.
    if (this.#closed) this.#goodbye(link);
    else if (role === 'client') this.#call(link, destination, bearer);
    else if (destination === '') this.#register(link, bearer);
    else this.#answer(link, bearer, destination);
  }

  /** Tells a client in one message that its exit is not to be had, and closes. @param reason for the log */
  turnAway(link: MessageLink, bearer: string, reason = 'its exit is not connected'): void {
    this.#tell(link, bearer, 'exit-absent', reason);
  }

  /** Tells a client in one message to try later, and closes. */
  turnAwayFull(link: MessageLink, bearer: string): void {
    this.#tell(link, bearer, 'overloaded', 'there is too little memory left');
  }

  #tell(link: MessageLink, bearer: string, fault: WireFaultName, reason: string): void {
    this.#options.logger.info({ bearer, remote: link.remote, reason }, 'a client was turned away');
    link.setHandler(IGNORE);
    link.send(encodeNotice(fault));
    link.close();
  }

  /** Tells the bearer of a ticket for retired keys so, provably, and closes. */
  turnAwayRetired(link: MessageLink, bearer: string, { role, destination }: Place, proof: Buffer): void {
    this.#options.logger.info({ bearer, remote: link.remote }, 'an invite from before the rotation of the keys');
    link.setHandler(IGNORE);
    if (role === 'client') link.send(encodeNotice('keys-rotated', proof));
    else if (destination === '') link.send(encodeControl({ type: 'rotated', proof: proof.toString('hex') }));
    link.close();
  }

  /** What an exit announced before a restart; known when it returns. */
  restore(exit: string, keys: readonly string[]): void {
    this.#bearers.restore(exit, keys);
  }

  /** Ends everything of exits that may not register any more. @param names those that still may, with the same keys */
  keepOnly(names: ReadonlySet<string>): void {
    for (const exit of new Set([...this.#exits.keys(), ...this.#splices.keys(), ...this.#bearers.exits])) {
      if (!names.has(exit)) this.#forget(exit);
    }
  }

  /**
   * Says goodbye to everyone at once, since nothing is gained by waiting: what runs over a splice lies with its two ends, which can
   * meet again at another relay, or at this one once it is back. Clients that wait hear no notice: their exit may be well.
   */
  close(): void {
    this.#closed = true;
    this.#bearers.close();
    for (const control of this.#exits.values()) control.end('going-away');
    this.#exits.clear();
    for (const token of [...this.#calls.keys()]) this.#goodbye(this.#take(token)?.client);
    for (const pairs of this.#splices.values())
      for (const links of pairs) for (const link of links) link.close('going-away');
  }

  #goodbye(link: MessageLink | undefined): void {
    link?.setHandler(IGNORE);
    link?.close('going-away');
  }

  #forget(exit: string): void {
    this.#bearers.drop(exit);
    this.#options.onBearers?.(exit, []);
    this.#end(exit);
  }

  #end(exit: string): void {
    this.#exits.get(exit)?.end();
    this.#exits.delete(exit);
    this.#turnAwayCallers(exit);
    for (const links of this.#splices.get(exit) ?? []) for (const link of links) link.abort();
  }

  // ── exits ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  #register(link: MessageLink, exit: string): void {
    const { logger } = this.#options;
    const older = this.#exits.get(exit);
    const announcements = new Announcements(
      (keys) => this.#announce(exit, newer, keys),
      (reason) => this.#lose(exit, newer, reason),
    );
    const newer = new ControlLink(link, announcements);
    this.#exits.set(exit, newer);
    logger.info({ exit, remote: link.remote, replaced: older?.remote }, 'exit registered');
    older?.send({ type: 'replaced' });
    older?.end();
  }

  #announce(exit: string, control: ControlLink, keys: readonly string[]): void {
    if (this.#exits.get(exit) !== control) return;
    this.#options.logger.info({ exit, keys: keys.length }, 'exit announced its clients');
    this.#options.onBearers?.(exit, keys);
    this.#bearers.replace(exit, keys, () => control.send({ type: 'registered' }));
  }

  /** Its clients stay known: they are told that it is not there, not that they are strangers. */
  #lose(exit: string, control: ControlLink, { text }: LinkCloseReason): void {
    if (this.#exits.get(exit) !== control) return;
    this.#exits.delete(exit);
    this.#options.logger.info({ exit, remote: control.remote, reason: text }, 'exit lost');
    this.#turnAwayCallers(exit);
  }

  // ── clients ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

  #call(client: MessageLink, exit: string, bearer: string): void {
    const control = this.#exits.get(exit);
    if (control === undefined) return this.turnAway(client, bearer);
    if (!this.#hasPlace(exit)) return this.turnAway(client, bearer, 'too many wait for an answer');
    const token = randomBytes(16).toString('hex');
    const limit = setTimeout(() => this.#giveUp(token, 'its exit did not answer'), this.#limits.answerMs);
    const call = { exit, client, bearer, limit, early: [] };
    this.#calls.set(token, call);
    client.pause();
    client.setHandler(new Waiting(call, () => this.#take(token)));
    control.send({ type: 'call', token });
  }

  #hasPlace(exit: string): boolean {
    if (this.#calls.size >= this.#limits.calls) return false;
    return this.#callsOf(exit).length < this.#limits.callsPerExit;
  }

  #callsOf(exit: string): string[] {
    return [...this.#calls].filter(([, call]) => call.exit === exit).map(([token]) => token);
  }

  /** The call of a token, which is good for one answer only. */
  #take(token: string): Call | undefined {
    const call = this.#calls.get(token);
    this.#calls.delete(token);
    clearTimeout(call?.limit);
    return call;
  }

  #giveUp(token: string, reason: string): void {
    const call = this.#take(token);
    if (call !== undefined) this.turnAway(call.client, call.bearer, reason);
  }

  #turnAwayCallers(exit: string): void {
    for (const token of this.#callsOf(exit)) this.#giveUp(token, 'its exit was lost');
  }

  #answer(link: MessageLink, exit: string, token: string): void {
    if (this.#calls.get(token)?.exit !== exit) {
      this.#options.logger.debug({ exit, remote: link.remote }, 'an answer to no call');
      link.setHandler(IGNORE);
      link.close();
      return;
    }
    const call = this.#take(token);
    if (call !== undefined) this.#join(call, link);
  }

  #join({ exit, client, bearer, early }: Call, link: MessageLink): void {
    const { logger } = this.#options;
    const since = performance.now();
    const pair = [client, link];
    const pairs = this.#splices.get(exit) ?? new Set();
    this.#splices.set(exit, pairs.add(pair));
    logger.info({ exit, bearer, remote: client.remote }, 'a client was led to its exit');
    for (const message of early) link.send(message);
    splice(client, link, () => {
      pairs.delete(pair);
      if (pairs.size === 0 && this.#splices.get(exit) === pairs) this.#splices.delete(exit);
      const seconds = Math.round((performance.now() - since) / 1000);
      logger.info({ exit, bearer, remote: client.remote, seconds }, 'a client left its exit');
    });
  }
}

/** The relay's end of a control link: puts announcements together. */
class Announcements implements ControlHandler {
  readonly #onList: (keys: readonly string[]) => void;
  readonly handleEnd: (reason: LinkCloseReason) => void;
  #keys: string[] = [];

  constructor(onList: (keys: readonly string[]) => void, handleEnd: (reason: LinkCloseReason) => void) {
    this.#onList = onList;
    this.handleEnd = handleEnd;
  }

  handleControl(message: ControlMessage): boolean {
    if (message.type !== 'bearers') return false;
    this.#keys.push(...message.keys);
    if (this.#keys.length > MAX_ANNOUNCED_KEYS) return false;
    if (message.more) return true;
    this.#onList(this.#keys);
    this.#keys = [];
    return true;
  }
}

class Waiting implements MessageLinkHandler {
  readonly #call: Pick<Call, 'early'>;
  readonly handleClose: () => void;

  constructor(call: Pick<Call, 'early'>, onClose: () => void) {
    this.#call = call;
    this.handleClose = onClose;
  }

  handleMessage(message: Message): void {
    this.#call.early.push(message);
  }

  handleDrain(): void {}
}

const IGNORE: MessageLinkHandler = { handleMessage() {}, handleDrain() {}, handleClose() {} };
