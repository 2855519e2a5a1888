/**
 * A client and an exit, and the links between them, in virtual time: the client opens links, joins and resumes the
 * session as ReconnectingSession and ExtraLinks do, the exit answers as ExitSessions does. Links are lost, and each end
 * is told at another time, or never.
 */
import type { Prng } from '../../prng.ts';
import { Rig, type Side } from '../mux-rig.ts';
import { type EndOwner, type EndSettings, LinkedEnd } from './linked-end.ts';
import type { WayConfig } from './one-way.ts';
import { SimulatedLink } from './simulated-link.ts';
import { VirtualTime } from './virtual-time.ts';

export interface WorldSettings {
  readonly client: EndSettings;
  readonly exit: EndSettings;
  way(): WayConfig;
  /** Links freeze, are reset and stall, dials fail, packets are lost. */
  readonly isFaulty: boolean;
  readonly firstWanted: number;
}

type Answer = { readonly received: number } | { readonly refused: 'session-gap' | 'too-many-links' };

interface Attempt {
  readonly kind: 'join' | 'resume';
  readonly link: SimulatedLink;
  /** What the request said; undefined before it was sent. */
  said: number | undefined;
}

const FIRST_LINK = { peerReceived: 0, saidReceived: 0 };
const ANSWER_LIMIT_MS = 10_000;
const REQUEST_BYTES = 50;
const THINK_MS = 250;
/** A link that is silent for so long makes room for a new one, ms. */
const SILENT_LINK_MS = 3_000;
const DOUBT_MS = 300;

export class LinkWorld implements EndOwner {
  readonly time: VirtualTime;
  readonly client: LinkedEnd;
  readonly exit: LinkedEnd;
  readonly ends: readonly LinkedEnd[];
  /** All that were opened and that an end has not dropped. */
  private readonly links = new Set<SimulatedLink>();
  private resuming: Attempt | undefined;
  private joining: Attempt | undefined;
  private wanted: number;
  private isFaulty: boolean;
  /** Requests to join that were refused, by reason, and links by how they came. */
  readonly counts = new Map<string, number>();

  constructor(
    private readonly settings: WorldSettings,
    private readonly random: Prng,
  ) {
    let time: VirtualTime | undefined;
    const rig = new Rig<LinkedEnd>({}, (side, _config, clock) => {
      time ??= new VirtualTime(clock);
      return new LinkedEnd(side, settings[side], time);
    });
    this.client = rig.client;
    this.exit = rig.exit;
    this.ends = rig.ends;
    for (const end of this.ends) end.owner = this;
    this.time = time!;
    this.isFaulty = settings.isFaulty;
    this.wanted = settings.firstWanted;
    const first = this.makeLink();
    for (const end of this.ends) end.attach(first, FIRST_LINK.peerReceived, FIRST_LINK.saidReceived);
    this.think();
  }

  private count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  // ── links ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  private makeLink(): SimulatedLink {
    const { random } = this;
    const link = new SimulatedLink(this.time, this.settings.way(), this.settings.way(), random);
    this.links.add(link);
    if (!this.isFaulty) this.mend(link);
    else if (random.chance(0.12)) {
      const after = 1 + random.below(random.chance(0.5) ? 20_000 : 200_000);
      if (random.chance(0.7)) link.up.freezesAfter = after;
      if (random.chance(0.7)) link.down.freezesAfter = after + random.below(2_000);
    }
    return link;
  }

  /** From now on it has no fault, unless it is frozen already. */
  private mend(link: SimulatedLink): void {
    for (const way of [link.up, link.down]) {
      way.isLossy = false;
      if (!way.isFrozen) way.freezesAfter = Number.POSITIVE_INFINITY;
    }
  }

  /** No fault from now on, and no more links than the exit allows: else it drops idle ones for new ones. */
  endFaults(): void {
    this.isFaulty = false;
    this.wanted = Math.min(this.wanted, this.settings.exit.mux.maxLinks);
    for (const link of this.links) this.mend(link);
  }

  /** Any of the links, by number. */
  pickLink(): SimulatedLink | undefined {
    const links = [...this.links];
    return links.length === 0 ? undefined : this.random.pick(links);
  }

  /** The link is lost. Some of what is on its way arrives, and the ends are told one after the other. */
  reset(link: SimulatedLink): void {
    if (!this.links.delete(link)) return;
    this.count('reset');
    for (const side of ['client', 'exit'] as const) {
      if (this.random.chance(0.5)) link.from(side).cut();
      else link.from(side).freeze();
      this.tellLoss(side, link, true);
    }
  }

  private tellLoss(side: Side, link: SimulatedLink, mayBeLost: boolean): void {
    const { random } = this;
    // Never: the end finds out by itself.
    if (mayBeLost && random.chance(0.15)) return;
    const ms = random.chance(0.7) ? link.roundTripMs * (random.below(100) / 50) : random.below(4_000);
    this.time.after(ms, () => this.handleLoss(side, link));
  }

  private handleLoss(side: Side, link: SimulatedLink): void {
    this[side].lose(link);
    if (side === 'client')
      for (const attempt of [this.joining, this.resuming]) if (attempt?.link === link) this.fail(attempt);
  }

  handleDropped(end: LinkedEnd, link: SimulatedLink, isGraceful: boolean): void {
    this.links.delete(link);
    const peer = end.side === 'client' ? 'exit' : 'client';
    const way = link.from(end.side);
    if (isGraceful) {
      way.send(4, () => this.handleLoss(peer, link));
      return;
    }
    way.cut();
    if (!way.isFrozen) this.time.after(link.roundTripMs / 2, () => this.handleLoss(peer, link));
    else this.tellLoss(peer, link, this.isFaulty);
  }

  handleChange(end: LinkedEnd): void {
    if (end === this.client && !end.resumable.isAttached) this.seek();
  }

  // ── the client ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** So many links from now on. */
  want(wanted: number): void {
    this.wanted = wanted;
  }

  private think(): void {
    this.seek();
    this.time.after(THINK_MS, () => this.think());
  }

  private seek(): void {
    const { resumable, carriers } = this.client;
    if (resumable.mux.isOver) return;
    const isNeeded = !resumable.isAttached || resumable.linkState(this.time.now) === 'suspect';
    if (isNeeded && this.resuming === undefined) this.dial('resume');
    const kept = carriers.filter(({ state }) => !state.isUnwanted).length;
    const canJoin = resumable.isAttached && resumable.canJoin;
    if (canJoin && kept < this.wanted && this.joining === undefined) this.dial('join');
    if (kept > this.wanted) this.client.leaveNewest();
  }

  /** The network has changed: the links may be dead. */
  doubt(): void {
    if (this.resuming === undefined && this.client.resumable.isAttached) this.dial('resume');
  }

  private dial(kind: Attempt['kind']): void {
    const { random } = this;
    const link = this.makeLink();
    const attempt: Attempt = { kind, link, said: undefined };
    if (kind === 'resume') this.resuming = attempt;
    else this.joining = attempt;
    const handshakeMs = 2 * link.roundTripMs + (this.isFaulty ? random.below(DOUBT_MS) : 0);
    const fails = this.isFaulty && random.chance(0.1);
    this.time.after(handshakeMs, () => (fails ? this.fail(attempt) : this.request(attempt)));
  }

  private isCurrent(attempt: Attempt): boolean {
    return this.resuming === attempt || this.joining === attempt;
  }

  private request(attempt: Attempt): void {
    if (!this.isCurrent(attempt)) return;
    const { resumable } = this.client;
    if (attempt.kind === 'resume') resumable.holdAcknowledgements();
    attempt.said = resumable.received;
    const { said, link, kind } = attempt;
    link.up.send(REQUEST_BYTES, () => this.handleRequest(link, kind, said));
    this.time.after(ANSWER_LIMIT_MS, () => this.fail(attempt));
  }

  private fail(attempt: Attempt): void {
    if (!this.isCurrent(attempt)) return;
    this.count(`${attempt.kind} failed`);
    this.end(attempt);
    attempt.link.up.cut();
    this.links.delete(attempt.link);
    this.tellLoss('exit', attempt.link, this.isFaulty);
    if (attempt.kind === 'resume') this.client.resumable.releaseAcknowledgements();
    this.client.planTurn();
  }

  private end(attempt: Attempt): void {
    if (this.resuming === attempt) this.resuming = undefined;
    if (this.joining === attempt) this.joining = undefined;
  }

  private handleAnswer(attempt: Attempt, answer: Answer): void {
    if (!this.isCurrent(attempt)) return;
    this.end(attempt);
    if ('refused' in answer) return this.handleRefused(attempt, answer.refused);
    const { kind, link, said = 0 } = attempt;
    this.count(kind);
    if (kind === 'join') {
      if (!this.client.join(link, answer.received)) this.handleDropped(this.client, link, false);
    } else if (!this.client.attach(link, answer.received, said)) throw new Error('broken: the answer does not fit');
  }

  private handleRefused({ kind, link }: Attempt, reason: string): void {
    this.count(`${kind} refused: ${reason}`);
    this.links.delete(link);
    if (kind === 'resume') throw new Error(`broken: the exit refuses to resume the session: ${reason}`);
  }

  // ── the exit ───────────────────────────────────────────────────────────────────────────────────────────────────────

  private handleRequest(link: SimulatedLink, kind: Attempt['kind'], received: number): void {
    const delayMs = this.random.chance(0.1) && this.isFaulty ? this.random.below(1_000) : 0;
    if (delayMs > 0) this.time.after(delayMs, () => this.answer(link, kind, received));
    else this.answer(link, kind, received);
  }

  private answer(link: SimulatedLink, kind: Attempt['kind'], received: number): void {
    const { exit } = this;
    const { resumable } = exit;
    if (kind === 'resume') {
      if (!resumable.fits(received)) return this.send(link, { refused: 'session-gap' });
      const said = resumable.received;
      this.send(link, { received: said });
      exit.attach(link, received, said);
      return;
    }
    if (!resumable.canJoin) exit.dropSilentLink(SILENT_LINK_MS);
    if (!resumable.canJoin) return this.send(link, { refused: 'too-many-links' });
    if (!resumable.mayJoin(received)) return this.send(link, { refused: 'session-gap' });
    this.send(link, { received: resumable.received });
    exit.join(link, received);
  }

  private send(link: SimulatedLink, answer: Answer): void {
    link.down.send(REQUEST_BYTES, () => {
      for (const attempt of [this.joining, this.resuming])
        if (attempt?.link === link) this.handleAnswer(attempt, answer);
    });
  }
}
