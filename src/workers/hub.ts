/**
 * What the workers of one relay have in common: which of them has which exit and which session, tickets that were used,
 * and what strangers did. It lives in the process that starts them, and touches no link. Pure: time is passed in, and
 * messages come and go by channels.
 */
import type { Socket } from 'node:net';
import { type Clock, systemClock, type Timer } from '../clock.ts';
import { ReplayGuard } from '../crypto/replay-guard.ts';
import type { CallOutcome } from '../relay/rendezvous.ts';
import type { ChallengePair } from '../relay/shared-challenges.ts';
import { Channel, type ChannelHandler } from './channel.ts';
import type {
  Envelope,
  HttpLinkPlace,
  Load,
  Note,
  QuestionName,
  Questions,
  SessionPlace,
  WorkerEvent,
  WorkerId,
} from './messages.ts';

/** The exit of a worker that died registers again within this time, ms. Its clients wait for it. */
const RETURN_MS = 3_000;
/** For a worker to end a session that has no link, ms: it does so in one turn, unless it is stopped. */
const ROOM_MS = 1_000;

interface Worker {
  readonly id: WorkerId;
  readonly channel: Channel;
  /** Of its sessions: how many each peer has. */
  readonly peers: Map<string, number>;
  links: number;
  /** It hears what is said to it: before that, messages are lost. */
  hasStarted: boolean;
}

/** Of a certificate authority, while it is open. */
interface Challenge {
  readonly worker: Worker;
  readonly pair: ChallengePair;
}

interface Session {
  readonly worker: Worker;
  readonly peer: string;
}

export interface HubEvents {
  /** It serves. */
  onReady(worker: WorkerId, ready: unknown): void;
  onEvent?(worker: WorkerId, event: WorkerEvent): void;
}

export class Hub {
  private readonly workers = new Map<WorkerId, Worker>();
  private readonly exits = new Map<string, Worker>();
  private readonly keys = new Map<string, readonly string[]>();
  private readonly httpLinks = new Map<string, HttpLinkPlace>();
  private readonly sessions = new Map<string, Session>();
  /** By name: as many as a certificate has. */
  private readonly challenges = new Map<string, Challenge>();
  /** Exits that are expected back, and who waits for each. */
  private readonly returning = new Map<string, { readonly waiting: Set<() => void>; readonly limit: Timer }>();
  /** Tickets of this process's time. What was used before, each worker has read from the disk. */
  private readonly tickets = new ReplayGuard({ pastNonces: 0 });

  constructor(
    private readonly events: HubEvents,
    private readonly clock: Clock = systemClock,
  ) {}

  /** A worker was started. @param post as of Channel. Returns where its messages go. */
  add(
    id: WorkerId,
    post: (envelope: Envelope, socket?: Socket) => void,
  ): (envelope: Envelope, socket?: Socket) => void {
    const handler: ChannelHandler = {
      handleNote: (note, socket) => this.handleNote(worker, note, socket),
      handleQuestion: (name, ask) => this.handleQuestion(worker, name, ask),
    };
    const channel = new Channel(post, handler, this.clock);
    const worker: Worker = { id, channel, peers: new Map(), links: 0, hasStarted: false };
    this.workers.set(id, worker);
    return (envelope, socket) => {
      // What it said before it died may come after its end was noticed.
      if (this.workers.get(id) === worker) channel.receive(envelope, socket);
      else socket?.destroy();
    };
  }

  /** A worker has ended, in whatever way. */
  remove(id: WorkerId): void {
    const gone = this.workers.get(id);
    if (gone === undefined) return;
    this.workers.delete(id);
    gone.channel.close();
    for (const [session, { worker }] of this.sessions) if (worker === gone) this.sessions.delete(session);
    for (const [id, { worker }] of this.httpLinks) if (worker === gone.id) this.endHttpLink(id);
    for (const [exit, worker] of this.exits) if (worker === gone) this.expectBack(exit);
    for (const name of this.challenges.keys()) this.endChallenge(gone, name);
    this.tellWorkers();
    this.tellLoad({ links: 0, failures: {}, cleared: [] });
  }

  /** To all of them. */
  tell(note: Note): void {
    for (const { channel } of this.workers.values()) channel.note(note);
  }

  /** What each worker says of itself; without those that do not answer in time. */
  async reports(
    of: string,
    limitMs: number,
  ): Promise<readonly { readonly worker: WorkerId; readonly report: unknown }[]> {
    const asked = [...this.workers.values()].map(async ({ id: worker, channel }) => {
      return { worker, report: await channel.ask('report', { of }, limitMs) };
    });
    return (await Promise.all(asked)).filter(({ report }) => report !== undefined);
  }

  close(): void {
    for (const { waiting, limit } of this.returning.values()) {
      this.clock.clearTimeout(limit);
      for (const go of waiting) go();
    }
    this.returning.clear();
  }

  private handleNote(worker: Worker, note: Note, socket: Socket | undefined): void {
    switch (note.note) {
      case 'started':
        return this.handleStarted(worker);
      case 'exit':
        return note.worker === undefined ? this.withdraw(worker, note.exit) : this.register(worker, note.exit);
      case 'keys':
        this.keys.set(note.exit, note.keys);
        return this.tellOthers(worker, note);
      case 'http-link':
        if (note.at === undefined) this.httpLinks.delete(note.id);
        else this.httpLinks.set(note.id, note.at);
        return this.tellOthers(worker, note);
      case 'challenge-over':
        return this.endChallenge(worker, note.name);
      case 'upgrade':
        return this.passUpgrade(note, socket);
      case 'over':
        return this.endSession(worker, note.session);
      case 'load':
        worker.links = note.load.links;
        return this.tellLoad(note.load, worker);
      case 'ready':
        return this.events.onReady(worker.id, note.ready);
      case 'event':
        return this.events.onEvent?.(worker.id, note.event);
      case 'replaced':
      case 'workers':
      case 'close':
      case 'reload':
        // Only the hub says that.
        return;
    }
  }

  private handleStarted(worker: Worker): void {
    const { channel } = worker;
    worker.hasStarted = true;
    for (const [exit, keys] of this.keys) channel.note({ note: 'keys', exit, keys });
    for (const [exit, { id: at }] of this.exits) channel.note({ note: 'exit', exit, worker: at });
    for (const [name, { pair }] of this.challenges) void channel.ask('challenge', { name, pair });
    for (const [id, at] of this.httpLinks) channel.note({ note: 'http-link', id, at });
    this.tellWorkers();
    this.tellLoad({ links: 0, failures: {}, cleared: [] });
  }

  private endHttpLink(id: string): void {
    this.httpLinks.delete(id);
    this.tell({ note: 'http-link', id, at: undefined });
  }

  private handleQuestion<Name extends QuestionName>(
    worker: Worker,
    name: Name,
    ask: Questions[Name]['ask'],
  ): Promise<Questions[Name]['answer']> | undefined {
    const answer = this.answers[name](worker, ask as never);
    return answer as Promise<Questions[Name]['answer']> | undefined;
  }

  private readonly answers: {
    readonly [Name in QuestionName]: (
      worker: Worker,
      ask: Questions[Name]['ask'],
    ) => Promise<Questions[Name]['answer']> | undefined;
  } = {
    call: (_worker, ask) => this.call(ask.exit, ask.token),
    claim: async (_worker, { nonce }) => this.claim(nonce),
    place: (worker, ask) => this.placeWithRoom(worker, ask),
    find: async (_worker, { session }) => this.sessions.get(session)?.worker.id,
    challenge: (worker, ask) => this.openChallenge(worker, ask),
    room: () => undefined,
    report: () => undefined,
  };

  // ── exits ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  private register(worker: Worker, exit: string): void {
    const before = this.exits.get(exit);
    this.exits.set(exit, worker);
    if (before !== undefined && before !== worker) before.channel.note({ note: 'replaced', exit });
    this.tell({ note: 'exit', exit, worker: worker.id });
    this.stopWaiting(exit);
  }

  private withdraw(worker: Worker, exit: string): void {
    if (this.exits.get(exit) !== worker) return;
    this.exits.delete(exit);
    this.tell({ note: 'exit', exit, worker: undefined });
  }

  /** Its control link was lost with the worker, which says nothing of the exit. */
  private expectBack(exit: string): void {
    this.exits.delete(exit);
    this.tell({ note: 'exit', exit, worker: undefined });
    this.stopWaiting(exit);
    const limit = this.clock.setTimeout(() => this.stopWaiting(exit), RETURN_MS);
    limit.unref();
    this.returning.set(exit, { waiting: new Set(), limit });
  }

  private stopWaiting(exit: string): void {
    const returning = this.returning.get(exit);
    if (returning === undefined) return;
    this.returning.delete(exit);
    this.clock.clearTimeout(returning.limit);
    for (const go of returning.waiting) go();
  }

  private async call(exit: string, token: string): Promise<CallOutcome> {
    const returning = this.returning.get(exit);
    if (returning !== undefined) await new Promise<void>((go) => void returning.waiting.add(go));
    const worker = this.exits.get(exit);
    if (worker === undefined) return 'absent';
    const outcome = await worker.channel.ask('call', { exit, token });
    // It died before it said whether the exit was told: that one answers a token once, however often it hears it.
    if (outcome === undefined && this.workers.get(worker.id) !== worker) return await this.call(exit, token);
    return outcome ?? 'unreachable';
  }

  // ── challenges of a certificate authority ──────────────────────────────────────────────────────────────────────────

  /** One that has not started hears of it when it does, before it listens. One that has died needs none. */
  private async openChallenge(worker: Worker, { name, pair }: Questions['challenge']['ask']): Promise<true> {
    this.challenges.set(name, { worker, pair });
    const others = [...this.workers.values()].filter((each) => each !== worker && each.hasStarted);
    await Promise.all(others.map(({ channel }) => channel.ask('challenge', { name, pair })));
    return true;
  }

  private endChallenge(worker: Worker, name: string): void {
    if (this.challenges.get(name)?.worker !== worker) return;
    this.challenges.delete(name);
    this.tellOthers(worker, { note: 'challenge-over', name });
  }

  // ── sessions of the relay's own exit ───────────────────────────────────────────────────────────────────────────────

  /** As in one process, a session without a link makes room; one of the worker that asks, that one ends itself. */
  private async placeWithRoom(worker: Worker, ask: Questions['place']['ask']): Promise<SessionPlace> {
    const { peer } = ask;
    const place = this.place(worker, ask);
    if (place !== 'too-many-sessions') return place;
    for (const each of [...this.workers.values()]) {
      const mayHave = each !== worker && each.peers.has(peer);
      if (!mayHave || (await each.channel.ask('room', { peer }, ROOM_MS)) !== true) continue;
      // It may have died meanwhile.
      return this.workers.get(worker.id) === worker ? this.place(worker, ask) : place;
    }
    return place;
  }

  private place(worker: Worker, { session, peer, most, together }: Questions['place']['ask']): SessionPlace {
    const known = this.sessions.get(session)?.worker;
    if (known !== undefined) return known === worker ? 'here' : known.id;
    let count = 0;
    let home = worker;
    for (const each of this.workers.values()) {
      const here = each.peers.get(peer) ?? 0;
      count += here;
      if (together && here > 0) home = each;
    }
    if (count >= most) return 'too-many-sessions';
    if (home !== worker) return home.id;
    this.sessions.set(session, { worker, peer });
    worker.peers.set(peer, (worker.peers.get(peer) ?? 0) + 1);
    return 'here';
  }

  private endSession(worker: Worker, session: string): void {
    const known = this.sessions.get(session);
    if (known?.worker !== worker) return;
    this.sessions.delete(session);
    const left = (worker.peers.get(known.peer) ?? 0) - 1;
    if (left > 0) worker.peers.set(known.peer, left);
    else worker.peers.delete(known.peer);
  }

  // ── tickets, and what strangers do ─────────────────────────────────────────────────────────────────────────────────

  private claim(text: string): boolean {
    const nonce = Buffer.from(text, 'hex');
    return (
      !this.tickets.wasUsed(nonce, 'opened') && this.tickets.remember(nonce, 'opened', undefined, this.clock.now())
    );
  }

  /** To each worker: the links of the others, and what one of them has seen. */
  private tellLoad({ failures, cleared }: Load, from?: Worker): void {
    let all = 0;
    for (const { links } of this.workers.values()) all += links;
    for (const worker of this.workers.values())
      if (worker !== from)
        worker.channel.note({ note: 'load', load: { links: all - worker.links, failures, cleared } });
  }

  private passUpgrade(note: Extract<Note, { readonly note: 'upgrade' }>, socket: Socket | undefined): void {
    const worker = this.workers.get(note.worker);
    if (worker === undefined) socket?.destroy();
    else worker.channel.note(note, socket);
  }

  private tellOthers(from: Worker, note: Note): void {
    for (const worker of this.workers.values()) if (worker !== from) worker.channel.note(note);
  }

  private tellWorkers(): void {
    const started = [...this.workers.values()].filter(({ hasStarted }) => hasStarted);
    this.tell({ note: 'workers', workers: started.map(({ id }) => id) });
  }
}
