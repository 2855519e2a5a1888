/** What of a relay depends on its keys: tickets, routes, sessions of its own exit. A rotation creates another one. */
import { decodeBase64url } from '../crypto/base64url.ts';
import { isPublicKey } from '../crypto/public-key.ts';
import type { ReplayGuard } from '../crypto/replay-guard.ts';
import {
  type Audiences,
  openWithAny,
  type Peer,
  type TicketDecision,
  TicketOpener,
  type TicketRequest,
} from '../crypto/ticket.ts';
import type { Logger } from '../observability/logger.ts';
import { ClockWatch } from '../relay/clock-watch.ts';
import type { Admitted } from '../relay/gate.ts';
import { NamedExits } from '../relay/named-exits.ts';
import { clockText } from '../relay/refusal-log.ts';
import { Rejections } from '../relay/rejections.ts';
import type { Rendezvous } from '../relay/rendezvous.ts';
import type { RendezvousCounts } from '../relay/rendezvous-counts.ts';
import type { AccessEntry } from '../state/access-list.ts';
import type { KnownExits } from '../state/known-exits.ts';
import type { RetiredKeys } from '../state/retired-keys.ts';
import type { MessageLink } from '../transport/message-link.ts';
import type { ExitSessions } from '../tunnel/session/exit-sessions.ts';
import type { AccessControl } from './access-control.ts';
import type { Keys } from './serving-state.ts';
import type { Served } from './serving-status.ts';

interface RelayRouterOptions {
  readonly keys: Keys;
  readonly access: AccessControl;
  readonly known: KnownExits;
  /** As of NamedExitsOptions; outlives the keys. */
  readonly instance: string;
  /** Outlives the keys. */
  readonly replays: ReplayGuard;
  /** Outlives the keys. */
  readonly audiences: Audiences;
  /** Undefined: only named exits serve here. */
  readonly sessions: ExitSessions | undefined;
  readonly isOverloaded: () => boolean;
  readonly linksFree: () => number;
  /** So many of them are for new sessions. */
  readonly linksKept: () => number;
  readonly logger: Logger;
  /** Outlives the keys. */
  readonly counts: RendezvousCounts;
  /** The other nodes of this relay; outlives the keys. Default: there are none. */
  readonly rendezvous?: Rendezvous | undefined;
}

export class RelayRouter {
  private readonly tickets: TicketOpener;
  private readonly retired: readonly { readonly keys: RetiredKeys; readonly tickets: TicketOpener }[];
  private readonly exits: NamedExits;
  private readonly rejections: Rejections;
  private readonly clocks: ClockWatch;

  constructor(private readonly options: RelayRouterOptions) {
    const { keys, known, instance, replays, audiences, linksFree, linksKept, logger, counts } = options;
    const isRequested = (exit: string, token: string): boolean => this.exits.isRequested(exit, token);
    this.tickets = new TicketOpener(keys.identity, { replays, audiences, isRequested });
    const openerOf = ({ identity }: RetiredKeys) => new TicketOpener(identity, { replays, audiences, retired: true });
    this.retired = keys.retired.map((old) => ({ keys: old, tickets: openerOf(old) }));
    const onClock = (peer: string, offset: number) => logger.warn({ peer, offset }, clockText(peer, offset));
    this.clocks = new ClockWatch(this.tickets, onClock);
    const onPeers = (exit: string, list: readonly string[]): void => {
      known.set(exit, list);
      const bad = list.filter((key) => !isPublicKey(gateKeyOf(key))).length;
      if (bad > 0) logger.warn({ exit, keys: bad }, 'an exit announced invalid keys; wstun ignores them');
    };
    this.rejections = new Rejections(logger, counts.refused);
    const { rendezvous } = options;
    this.exits = new NamedExits({
      tickets: this.tickets,
      ...{ logger, instance, onPeers, linksFree, linksKept, counts },
      mayRegister: (exit) => options.access.exitNames().has(exit),
      ...(rendezvous && { rendezvous }),
    });
  }

  /** Who is on, and which exits are registered. */
  get served(): Served {
    const { forwarded, registered: exits } = this.exits;
    return { sessions: this.options.sessions, forwarded, exits };
  }

  /** @param now milliseconds since 1970 */
  open(ticket: string, now: number, request: TicketRequest): TicketDecision {
    const retired = this.retired.filter(({ keys }) => now < keys.until).map(({ tickets }) => tickets);
    const verdict = openWithAny([this.tickets, ...retired], ticket, now, request);
    if (!verdict.admitted && verdict.reason === 'unknown') this.clocks.wake();
    return verdict;
  }

  /** Whether `open` may admit it. @param now milliseconds since 1970 */
  knowsHint(ticket: string, now: number): boolean {
    if (this.tickets.knowsHint(ticket, now)) return true;
    return this.retired.some(({ keys, tickets }) => now < keys.until && tickets.knowsHint(ticket, now));
  }

  /** The access list has changed. @param kept the names that were there before with the same key */
  admit(kept: ReadonlySet<string>): void {
    const { access, sessions } = this.options;
    this.tickets.setPeers(access.entries.map(peerOf));
    for (const { keys, tickets } of this.retired) tickets.setPeers(this.retiredPeers(keys));
    sessions?.keepOnly(kept);
    this.exits.dropExitsExcept(kept);
    // Exits that are new in the list may have announced their clients elsewhere.
    this.options.rendezvous?.repeatKeys();
  }

  /** After a restart: until known exits return, their clients are told that they are absent. Forgets unlisted ones. */
  restoreExits(): void {
    const { known, access } = this.options;
    const exits = access.exitNames();
    for (const [exit, keys] of [...known.exits]) {
      if (exits.has(exit)) this.exits.restoreKeys(exit, keys);
      else known.set(exit, []);
    }
  }

  /** Clients that wait for their exit. */
  get held(): number {
    return this.exits.held;
  }

  /** Resolves when the keys of all these exits are known. */
  restored(): Promise<void> {
    return this.exits.restored();
  }

  handleLink(link: MessageLink, admitted: Admitted): void {
    const { peer, role, destination, rotationProof } = admitted;
    const { sessions, isOverloaded } = this.options;
    if (rotationProof !== undefined) this.rejections.rejectRetired(link, peer, admitted, rotationProof);
    // The relay's own exit can tell new sessions from resumed ones. For other exits the relay cannot.
    else if (role === 'client' && (destination !== '' || sessions === undefined) && isOverloaded())
      this.rejections.rejectOverloaded(link, peer);
    else if (role === 'exit' || destination !== '') this.exits.serve(link, admitted);
    else if (sessions === undefined) this.rejections.rejectAbsent(link, peer);
    else sessions.serve(link, peer);
  }

  /** Of sessions of the relay's own exit that begin from now on, ms. */
  setResumeWindow(resumeWindowMs: number | undefined): void {
    this.options.sessions?.setResumeWindow(resumeWindowMs);
  }

  /** The URLs of this relay, or the pins of its TLS key, have changed. */
  tellRelays(): void {
    this.options.sessions?.tellRelays();
  }

  /** Other keys are in force: ends everything that was admitted by these. */
  retire(): void {
    this.clocks.close();
    this.options.sessions?.endAll('keys-rotated');
    this.exits.close();
  }

  async close(graceMs: number): Promise<void> {
    this.clocks.close();
    // At once: sessions with named exits resume at the next start. Only those of the relay's own exit would be lost.
    this.exits.close();
    await this.options.sessions?.close(graceMs);
  }

  /** Peers of the list, and clients that its exits had announced. */
  private retiredPeers(keys: RetiredKeys): Peer[] {
    const exits = this.options.access.exitNames();
    const peers = this.options.access.retiredPeers(keys).map(peerOf);
    for (const [exit, list] of keys.exits) {
      const client = { name: `a client of ${exit}`, role: 'client', destination: exit } as const;
      if (exits.has(exit)) peers.push(...list.map((key) => ({ ...client, gateKey: gateKeyOf(key) })));
    }
    return peers;
  }
}

/** A client of this list has an invite to the relay's own exit. */
function peerOf({ name, key, role }: Pick<AccessEntry, 'name' | 'key' | 'role'>): Peer {
  return { name, gateKey: key.gate, role, destination: '' };
}

function gateKeyOf(key: string): Uint8Array {
  return decodeBase64url(key) ?? new Uint8Array(0);
}
