/**
 * A worker as a node of its relay: the driver of `Rendezvous` over the hub, and what else its relay asks of the others,
 * which are tickets that were used, places of sessions, and the load of all. Owns no link for longer than it takes to
 * pass it.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { HttpLinkKey } from '../crypto/ticket.ts';
import type { Logger } from '../observability/logger.ts';
import type { OtherNodes, PassedUpgrade } from '../relay/other-nodes.ts';
import type { CallOutcome, Rendezvous, RendezvousHandler } from '../relay/rendezvous.ts';
import type { SharedLoad } from '../relay/shared-load.ts';
import type { MessageLink } from '../transport/message-link.ts';
import type { PassedSession, SessionPlaces, SessionPlacesHandler } from '../tunnel/session/session-places.ts';
import { Channel, type ChannelHandler } from './channel.ts';
import type {
  Envelope,
  HttpLinkPlace,
  Note,
  QuestionName,
  Questions,
  SentUpgrade,
  SessionPlace,
  WorkerId,
} from './messages.ts';
import { WorkerChallenges } from './worker-challenges.ts';
import { passLink, socketPathOf, takeFromWorkers } from './worker-links.ts';
import { forwardRequest } from './worker-requests.ts';

/** Below the time that a client is held. It has the time in which an exit returns after its worker died. */
const CALL_LIMIT_MS = 7_000;

export interface WorkerNodeOptions {
  readonly id: WorkerId;
  /** Of the workers' sockets. */
  readonly directory: string;
  /** As of Channel, to the hub. */
  readonly post: (envelope: Envelope, socket?: Socket) => void;
  readonly onClose: (graceMs: number) => void;
  readonly onReload: () => void;
  /** What this worker serves, for the hub. */
  readonly report: (of: string) => Promise<unknown>;
  readonly logger: Logger;
}

/** Why a link is passed. */
type Purpose =
  | { readonly for: 'call'; readonly exit: string; readonly token: string }
  | { readonly for: 'session'; readonly session: PassedSession };

export class WorkerNode implements Rendezvous, SessionPlaces, OtherNodes, ChannelHandler {
  readonly hasOthers = true;
  readonly tokenPrefix: string;
  readonly challenges: WorkerChallenges;
  private readonly channel: Channel;
  private readonly exits = new Map<string, WorkerId>();
  /** What exits announced, to be repeated. */
  private readonly keys = new Map<string, readonly string[]>();
  private readonly httpLinks = new Map<string, { readonly node: WorkerId; readonly key: HttpLinkKey }>();
  private workers: ReadonlySet<WorkerId> = new Set();
  private handler: RendezvousHandler | undefined;
  private sessions: SessionPlacesHandler | undefined;
  private onRequest: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
  private onUpgrade: ((socket: Socket, upgrade: PassedUpgrade) => void) | undefined;
  private load: SharedLoad | undefined;
  private server: Server | undefined;

  constructor(private readonly options: WorkerNodeOptions) {
    this.tokenPrefix = options.id;
    this.channel = new Channel(options.post, this);
    this.challenges = new WorkerChallenges(options.id, this.channel);
  }

  /** Takes links of other workers from now on. */
  async start(): Promise<void> {
    const { directory, id, logger } = this.options;
    const onLink = (link: MessageLink, purpose: unknown): void => this.take(link, purpose as Purpose);
    const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
      if (this.onRequest === undefined) request.socket.destroy();
      else this.onRequest(request, response);
    };
    this.server = await takeFromWorkers(socketPathOf(directory, id), { onLink, onRequest }, logger);
    this.channel.note({ note: 'started' });
  }

  stop(): void {
    this.server?.close();
    this.channel.close();
  }

  receive(envelope: Envelope, socket?: Socket): void {
    this.channel.receive(envelope, socket);
  }

  ready(ready: unknown): void {
    this.channel.note({ note: 'ready', ready });
  }

  /** Its links and failures are told to the others, and theirs to it. */
  shareLoad(load: SharedLoad): void {
    this.load = load;
    load.onChange = (mine) => this.channel.note({ note: 'load', load: mine });
  }

  // ── OtherNodes ─────────────────────────────────────────────────────────────────────────────────────────────────────

  async claim(nonce: string): Promise<boolean> {
    return (await this.channel.ask('claim', { nonce })) ?? false;
  }

  noteHttpLink(id: bigint, key?: HttpLinkKey): void {
    const at = key && { worker: this.options.id, key: Buffer.from(key.expose().key).toString('hex') };
    this.channel.note({ note: 'http-link', id: hexOf(id), at });
  }

  httpLinkOf(id: bigint): { readonly node: WorkerId; readonly key: HttpLinkKey } | undefined {
    return this.httpLinks.size === 0 ? undefined : this.httpLinks.get(hexOf(id));
  }

  forward(
    worker: WorkerId,
    request: IncomingMessage,
    response: ServerResponse,
    onOutcome: (isAnswered: boolean) => void,
  ): void {
    forwardRequest(socketPathOf(this.options.directory, worker), request, response, onOutcome);
  }

  nodeOfCall(token: string): WorkerId | undefined {
    return this.isOthers(token) ? this.workerOf(token) : undefined;
  }

  passUpgrade(worker: WorkerId, socket: Socket, upgrade: PassedUpgrade): void {
    const { audience, ...admitted } = upgrade.admitted;
    const sent = { ...upgrade, admitted, audience: audience?.toString(16), rest: upgrade.rest.toString('base64') };
    this.channel.note({ note: 'upgrade', worker, upgrade: sent }, socket);
  }

  setUpgradeHandler(handle: (socket: Socket, upgrade: PassedUpgrade) => void): void {
    this.onUpgrade = handle;
  }

  setRequestHandler(handle: (request: IncomingMessage, response: ServerResponse) => void): void {
    this.onRequest = handle;
  }

  // ── Rendezvous ─────────────────────────────────────────────────────────────────────────────────────────────────────

  setHandler(handler: RendezvousHandler): void {
    this.handler = handler;
    this.repeatKeys();
  }

  announce(exit: string): () => void {
    this.channel.note({ note: 'exit', exit, worker: this.options.id });
    return () => this.channel.note({ note: 'exit', exit, worker: undefined });
  }

  isElsewhere(exit: string): boolean {
    const at = this.exits.get(exit);
    return at !== undefined && at !== this.options.id;
  }

  shareKeys(exit: string, keys: readonly string[]): void {
    this.keys.set(exit, keys);
    this.channel.note({ note: 'keys', exit, keys });
  }

  repeatKeys(): void {
    for (const [exit, keys] of this.keys) this.handler?.handleKeys(exit, keys);
  }

  async call(exit: string, token: string): Promise<CallOutcome> {
    return (await this.channel.ask('call', { exit, token }, CALL_LIMIT_MS)) ?? 'unreachable';
  }

  /** All workers have one URL. */
  noteUnreached(): void {}

  isOthers(token: string): boolean {
    const worker = this.workerOf(token);
    return worker !== this.options.id && this.workers.has(worker);
  }

  passAnswer(exit: string, token: string, link: MessageLink): void {
    this.pass(this.workerOf(token), link, { for: 'call', exit, token });
  }

  // ── SessionPlaces ──────────────────────────────────────────────────────────────────────────────────────────────────

  setSessionHandler(handler: SessionPlacesHandler): void {
    this.sessions = handler;
  }

  async place(session: string, peer: string, limits: { most: number; together: boolean }): Promise<SessionPlace> {
    // Without an answer nobody knows how many there are: the next attempt will.
    return (await this.channel.ask('place', { session, peer, ...limits })) ?? 'too-many-sessions';
  }

  async find(session: string): Promise<WorkerId | undefined> {
    const worker = await this.channel.ask('find', { session });
    return worker === this.options.id ? undefined : worker;
  }

  handleOver(session: string): void {
    this.channel.note({ note: 'over', session });
  }

  passSession(worker: WorkerId, session: PassedSession, link: MessageLink): void {
    this.pass(worker, link, { for: 'session', session });
  }

  // ── of the hub and of other workers ────────────────────────────────────────────────────────────────────────────────

  handleNote(note: Note, socket?: Socket): void {
    switch (note.note) {
      case 'exit':
        if (note.worker === undefined) this.exits.delete(note.exit);
        else this.exits.set(note.exit, note.worker);
        return;
      case 'replaced':
        return this.handler?.handleReplaced(note.exit);
      case 'keys':
        this.keys.set(note.exit, note.keys);
        return this.handler?.handleKeys(note.exit, note.keys);
      case 'http-link':
        if (note.at === undefined) this.httpLinks.delete(note.id);
        else this.httpLinks.set(note.id, placeOf(note.at));
        return;
      case 'load':
        return this.load?.handleOthers(note.load);
      case 'upgrade':
        return this.takeUpgrade(note.upgrade, socket);
      case 'workers':
        this.workers = new Set(note.workers);
        return;
      case 'challenge-over':
        return this.challenges.handleOver(note.name);
      case 'close':
        return this.options.onClose(note.graceMs);
      case 'reload':
        return this.options.onReload();
      case 'started':
      case 'over':
      case 'ready':
      case 'event':
        // Only workers say that.
        return;
    }
  }

  handleQuestion<Name extends QuestionName>(
    name: Name,
    ask: Questions[Name]['ask'],
  ): Promise<Questions[Name]['answer']> | undefined {
    if (name === 'call') return Promise.resolve(this.answerCall(ask as Questions['call']['ask']));
    if (name === 'challenge') return Promise.resolve(this.challenges.take(ask as Questions['challenge']['ask']));
    if (name === 'room')
      return Promise.resolve(this.sessions?.makeRoom((ask as Questions['room']['ask']).peer) ?? false);
    if (name === 'report') return this.options.report((ask as Questions['report']['ask']).of);
    return undefined;
  }

  private workerOf(token: string): WorkerId {
    return token.slice(0, this.tokenPrefix.length);
  }

  private takeUpgrade({ audience, ...upgrade }: SentUpgrade, socket: Socket | undefined): void {
    // It may have ended on its way.
    if (socket === undefined) return;
    if (this.onUpgrade === undefined) socket.destroy();
    else {
      const admitted = { ...upgrade.admitted, ...(audience !== undefined && { audience: BigInt(`0x${audience}`) }) };
      this.onUpgrade(socket, { ...upgrade, admitted, rest: Buffer.from(upgrade.rest, 'base64') });
    }
  }

  private answerCall({ exit, token }: Questions['call']['ask']): CallOutcome {
    return this.handler?.handleCall(exit, { token }) ?? 'absent';
  }

  private pass(worker: WorkerId, link: MessageLink, purpose: Purpose): void {
    const { remote, maxMessageBytes } = link;
    passLink(socketPathOf(this.options.directory, worker), link, { remote, maxMessageBytes, purpose: { ...purpose } });
  }

  private take(link: MessageLink, purpose: Purpose): void {
    if (purpose.for === 'session' && this.sessions !== undefined) this.sessions.handlePassed(purpose.session, link);
    else if (purpose.for === 'call' && this.handler !== undefined)
      this.handler.handleAnswer(purpose.exit, purpose.token, link);
    else link.abort();
  }
}

function hexOf(id: bigint): string {
  return id.toString(16).padStart(16, '0');
}

function placeOf({ worker, key }: HttpLinkPlace): { readonly node: WorkerId; readonly key: HttpLinkKey } {
  return { node: worker, key: new HttpLinkKey(Buffer.from(key, 'hex')) };
}
