/**
 * A relay's part in a cluster: what it shares with the other relays, and how it finds their exits. Loaded only with
 * `cluster`. It knows no router: that one begins anew when keys are rotated, and this lives on.
 */
import { randomBytes } from 'node:crypto';
import { withLimit } from '../async/abortable.ts';
import { systemClock } from '../clock.ts';
import type { Bus } from '../cluster/bus.ts';
import { ClusterAccess } from '../cluster/cluster-access.ts';
import { ClusterRendezvous, type DialledRelay } from '../cluster/cluster-rendezvous.ts';
import { ClusterUsage, USAGE_MAX_AGE_MS } from '../cluster/cluster-usage.ts';
import { ExitKeys } from '../cluster/exit-keys.ts';
import { KeptList } from '../cluster/kept-list.ts';
import { type ClusterRelay, KnownRelays } from '../cluster/known-relays.ts';
import {
  accessBucket,
  exitsBucket,
  retiredBucket,
  statusSubject,
  ticketsBucket,
  usageBucket,
} from '../cluster/names.ts';
import { openNatsBus } from '../cluster/nats-bus.ts';
import { parseNatsUrls, requireClusterName } from '../cluster/nats-urls.ts';
import { loadOrCreateRelayId } from '../cluster/relay-id.ts';
import { findRetired, RETIRED_MAX_AGE_MS, type RetiredList } from '../cluster/retired-peers.ts';
import { CLAIM_MAX_AGE_MS, ClusterClaims } from '../cluster/ticket-claims.ts';
import type { PublicIdentity } from '../crypto/keys.ts';
import { parseRelayUrl } from '../crypto/relay-url.ts';
import { audienceOf } from '../crypto/ticket.ts';
import { WstunError } from '../errors.ts';
import type { ListenRule } from '../exit/listen/listen-rules.ts';
import type { Rule } from '../exit/rules.ts';
import type { Logger } from '../observability/logger.ts';
import type { StateDir } from '../state/state-dir.ts';
import type { Reach } from '../transport/connection/reach.ts';
import { RelayTls } from '../transport/connection/relay-tls.ts';
import type { MessageLink } from '../transport/message-link.ts';
import { TicketDialer } from '../tunnel/dial/ticket-dialer.ts';
import type { ClusterPlace } from './cluster-place.ts';
import { RULE_PARSERS } from './invites.ts';
import type { ServingState, SharedState } from './serving-state.ts';
import type { ClusterStatus, ServingStatus } from './status.ts';

/** To another relay, in an exit's place: its client is held for 8 s. */
const DIAL_MS = 6_000;

export interface RelayClusterOptions {
  readonly place: ClusterPlace;
  readonly state: StateDir;
  /** Processes with that directory. */
  readonly processes: number;
  readonly logger: Logger;
}

/** @throws WstunError bad-cluster, bad-url, cluster-file-unusable, state-unusable */
export async function openRelayCluster(options: RelayClusterOptions): Promise<RelayCluster> {
  const { place, state, processes, logger } = options;
  const url = place.url === undefined ? undefined : parseRelayUrl(place.url);
  const kept = new KeptList(state, logger);
  const [keptText, relayId] = [await kept.read(), await loadOrCreateRelayId(state)];
  const node = randomBytes(4).toString('hex');
  const bus = await openBus(place, `wstun relay ${relayId}`, logger);
  const isAlone = processes === 1;
  return new RelayCluster({ bus, name: nameOf(place), url, node, relayId, isAlone, kept, keptText, logger });
}

/** For a relay, and for commands. @throws WstunError bad-cluster, cluster-file-unusable */
export async function openBus(place: ClusterPlace, client: string, logger: Logger): Promise<Bus> {
  const { replicas, credsFile, caFile } = place;
  if (replicas !== undefined && !(Number.isInteger(replicas) && replicas >= 1 && replicas <= 5))
    throw new WstunError('bad-option', '--cluster-replicas is a number from 1 to 5');
  requireClusterName(nameOf(place));
  const servers = parseNatsUrls(place.servers);
  return await openNatsBus({ servers, credsFile, caFile, replicas, name: client, logger });
}

export function nameOf({ name = 'wstun' }: Pick<ClusterPlace, 'name'>): string {
  return name;
}

interface Parts {
  readonly bus: Bus;
  readonly name: string;
  readonly url: string | undefined;
  readonly node: string;
  readonly relayId: string;
  readonly isAlone: boolean;
  readonly kept: KeptList;
  readonly keptText: string | undefined;
  readonly logger: Logger;
}

/** What the cluster needs to know of the relay. */
export interface ClusterMember {
  readonly serving: ServingState;
  /** For links to other relays. */
  readonly status: () => ServingStatus;
}

export class RelayCluster implements SharedState {
  readonly list: ClusterAccess<Rule, ListenRule>;
  readonly rendezvous: ClusterRendezvous;
  readonly claims: ClusterClaims;
  private readonly relays: KnownRelays;
  private readonly keys: ExitKeys;
  private own: ClusterRelay;
  private member: ClusterMember | undefined;
  /** Of the URL that is this relay's alone. */
  private audience: bigint | undefined;

  constructor(private readonly parts: Parts) {
    const { bus, name, node, relayId: id, url = '', kept, keptText, logger } = parts;
    this.own = { node, id, url, pins: [] };
    const own = () => this.own;
    this.list = new ClusterAccess(bus.bucket(accessBucket(name)), {
      place: placeText(name),
      parsers: RULE_PARSERS,
      kept: keptText,
      keep: (text) => kept.keep(text),
    });
    this.relays = new KnownRelays(bus, name, own, (shared) =>
      logger.error({ url: shared }, 'another relay of the cluster has the same URL: give each its own --cluster-url'),
    );
    const tickets = bus.bucket(ticketsBucket(name), { maxAgeMs: CLAIM_MAX_AGE_MS });
    this.claims = new ClusterClaims(tickets, (audience) => this.isOurs(audience));
    this.keys = new ExitKeys(bus.bucket(exitsBucket(name)), (exit, list) => this.handleKeys(exit, list), logger);
    const dialAs = (exit: string, relay: DialledRelay, token: string) => this.dialAs(exit, relay, token);
    this.rendezvous = new ClusterRendezvous({ bus, cluster: name, own, keys: this.keys, dialAs, logger });
  }

  usage(...[own, access]: Parameters<SharedState['usage']>): ClusterUsage {
    const { bus, name, relayId, isAlone } = this.parts;
    return new ClusterUsage(own, bus.bucket(usageBucket(name), { maxAgeMs: USAGE_MAX_AGE_MS }), {
      relay: relayId,
      isAlone,
      quotaOf: (peer) => access.quotaOf(peer),
      isConnected: () => bus.state.connectedSince !== undefined,
      relayCount: () => 1 + this.relays.otherIds.size,
    });
  }

  async retiredOf(keys: PublicIdentity): Promise<RetiredList | undefined> {
    const { bus, name } = this.parts;
    return await findRetired(bus.bucket(retiredBucket(name), { maxAgeMs: RETIRED_MAX_AGE_MS }), keys);
  }

  /** Before the relay listens. */
  join(member: ClusterMember): void {
    this.member = member;
    const { bus, name } = this.parts;
    bus.subscribe(statusSubject(name), (message) => {
      const answer = { relay: this.own, status: member.status() };
      message.respond(Buffer.from(JSON.stringify(answer)));
    });
  }

  /** The relay listens. @param url the first of its invites @param pins of its TLS key, for invites */
  begin(url: string, pins: readonly string[]): void {
    this.own = { ...this.own, url: this.parts.url ?? url, pins };
    this.audience = audienceOf(this.own.url);
    this.relays.begin();
  }

  get status(): ClusterStatus {
    const { bus, name } = this.parts;
    const { connectedSince, awaySince, server, fault } = bus.state;
    return {
      name,
      node: this.own.node,
      ...(connectedSince !== undefined && { connectedSince }),
      ...(awaySince !== undefined && { awaySince }),
      ...(server !== undefined && { server }),
      ...(fault && { fault: { code: fault.code, message: fault.message } }),
      relays: 1 + this.relays.otherIds.size,
    };
  }

  /** In a few words, for whoever balances load; undefined: it is. */
  whyNotReady(): string | undefined {
    return this.list.isKnown ? undefined : `there is no access list yet: ${this.awayText()}`;
  }

  /** What waits while the cluster, or a part of it, is away; undefined: nothing. */
  lacking(): string | undefined {
    const { connectedSince, fault } = this.parts.bus.state;
    if (connectedSince === undefined) return this.awayText();
    return fault && `the cluster does not store everything (${fault.code})`;
  }

  private awayText(): string {
    const { awaySince, fault } = this.parts.bus.state;
    const seconds = Math.round((systemClock.wallTime() - (awaySince ?? systemClock.wallTime())) / 1000);
    return `the cluster has been away for ${seconds} s${fault === undefined ? '' : ` (${fault.code})`}`;
  }

  /** Nothing is asked any more; what was counted is to be written after this. */
  leave(): void {
    this.relays.close();
  }

  async close(): Promise<void> {
    this.keys.close();
    await this.parts.bus.close();
    await this.parts.kept.close();
  }

  /** Other URLs may lead to other relays, too: with `--cluster-url` that is what the first `--url` is for. */
  private isOurs(audience: bigint): boolean {
    return audience === this.audience && !this.relays.isShared(this.own.url);
  }

  /** Only of exits that may register. */
  private handleKeys(exit: string, keys: readonly string[]): void {
    if (this.member?.serving.access.exitNames().has(exit) === true) this.rendezvous.handleKeys(exit, keys);
  }

  /**
   * The ticket is sealed by the key that the exit and the relays share, and is the one that the exit would seal: any
   * relay of the cluster could open what the exit sends, but for what is inside its sessions.
   */
  private async dialAs(exit: string, { url, pins }: DialledRelay, token: string): Promise<MessageLink> {
    const serving = this.member?.serving;
    const entry = serving?.access.entries.find(({ name, role }) => name === exit && role === 'exit');
    if (serving === undefined || entry === undefined) throw new WstunError('name-unknown', exit);
    const peer = serving.keys.identity;
    const reach: Reach = { tls: new RelayTls({ pins }) };
    const invite = { relayUrls: [url], relayGateKey: entry.key.gate, peer };
    const dialer = new TicketDialer(invite, this.parts.logger, { reach });
    return await withLimit(
      { clock: systemClock, limitMs: DIAL_MS },
      () => new WstunError('relay-unreachable', 'no answer in time'),
      (signal) => dialer.dial(url, { role: 'exit', destination: token }, { signal }),
    );
  }
}

/** For texts. */
export function placeText(name: string): string {
  return `the cluster ${name}`;
}
