/**
 * The HTTP links of a relay (docs/protocol.md §1.4): finds the link of a further request by its id, checks that its
 * client has sealed it, and that it is no replay. What fails is answered as a stranger's request, by the caller.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock, Timer } from '../clock.ts';
import { decodeSegment, type HttpLinkKey, PAGE_FEATURE } from '../crypto/ticket.ts';
import { LinkMemory } from '../transport/http/link-memory.ts';
import { decodeRequest, type LinkRequest } from '../transport/http/link-requests.ts';
import { SequenceWindow } from '../transport/http/sequence-window.ts';
import { HttpServerLink } from '../transport/http-node/http-server-link.ts';
import { answerEnded } from '../transport/http-node/link-answers.ts';
import type { Admitted } from './gate.ts';

interface Entry {
  readonly key: HttpLinkKey;
  readonly sequences: SequenceWindow;
  readonly isForPage: boolean;
  /** Connections that are not counted as pending: they carry its requests. */
  readonly sockets: Set<Socket>;
  /** Undefined: it has ended, and its client is told so. */
  link: HttpServerLink | undefined;
}

/** A valid request, which is to be served now. */
export interface FoundRequest {
  readonly entry: Entry;
  readonly link: LinkRequest;
}

type RequestHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

function isFresh({ isForPage, sequences }: Entry, { sequence }: LinkRequest, headers: RequestHeaders): boolean {
  return (headers.origin === undefined || isForPage) && sequences.accept(sequence);
}

/** Of one link: up to 7 *up*, 2 *down*, and some that the relay does not know to be cut. Others stay pending. */
const MAX_CARRYING_SOCKETS = 16;
/** Of all links: what each needs that has nothing cut. Others stay pending. */
const USUAL_SOCKETS = 3;
/** For a client whose last answer was cut. 0.5 KB each. */
const REMEMBER_ENDED_MS = 30_000;
const MAX_ENDED = 1_024;

export interface HttpLinksOptions {
  readonly clock: Clock;
  /** How many links there may be. */
  readonly mostLinks: number;
  /** The connection carries a request of a link: it is no stranger's. */
  readonly onCarrying: (socket: Socket) => void;
  /** Requests of a link are for this process from now on, or, without a key, not any more. */
  readonly onKnown?: ((id: bigint, key?: HttpLinkKey) => void) | undefined;
}

export class HttpLinks {
  private readonly entries = new Map<bigint, Entry>();
  /** Of those that have ended, the oldest first. */
  private readonly ended = new Map<bigint, Timer>();
  private readonly memory = new LinkMemory();
  /** Connections that carry requests, with their link. */
  private readonly carrying = new Map<Socket, Entry>();
  /** Those whose end is waited for. */
  private readonly watched = new WeakSet<Socket>();

  private readonly mostSockets: number;

  constructor(private readonly options: HttpLinksOptions) {
    this.mostSockets = Math.max(MAX_CARRYING_SOCKETS, USUAL_SOCKETS * options.mostLinks);
  }

  /** Links that are open. */
  get size(): number {
    return this.entries.size - this.ended.size;
  }

  /** Hands out the open link; the first answer is begun. @param remote of its client @param onOver it has ended */
  open(
    request: IncomingMessage,
    response: ServerResponse,
    admitted: Admitted,
    remote: string,
    onOver: () => void,
  ): HttpServerLink {
    const { httpLink: key, features } = admitted;
    if (key === undefined) throw new RangeError('not a ticket of an HTTP link');
    const { id } = key;
    const isForPage = (features & PAGE_FEATURE) !== 0;
    const entry: Entry = { key, sequences: new SequenceWindow(), isForPage, sockets: new Set(), link: undefined };
    const { clock } = this.options;
    const link = new HttpServerLink({ remote, clock, memory: this.memory, onOver: () => this.handleOver(id, onOver) });
    entry.link = link;
    this.entries.set(id, entry);
    this.options.onKnown?.(id, key);
    this.carry(request.socket, entry);
    link.open(response);
    return link;
  }

  /**
   * The link whose request this is; its sequence is used up. Undefined: it is none of this relay's links.
   * @param segment the last of its path
   */
  find(segment: string, headers: RequestHeaders): FoundRequest | undefined {
    if (this.entries.size === 0) return undefined;
    const sealed = decodeSegment(segment);
    const entry = sealed && this.entries.get(sealed.id);
    const payload = sealed && entry?.key.open(sealed);
    const link = payload && decodeRequest(payload);
    return entry !== undefined && link !== undefined && isFresh(entry, link, headers) ? { entry, link } : undefined;
  }

  /** Whether `find` may find its link. */
  knowsId(segment: string): boolean {
    if (this.entries.size === 0) return false;
    const sealed = decodeSegment(segment);
    return sealed !== undefined && this.entries.has(sealed.id);
  }

  /** False: no client of that link makes such a request, and it was not answered. */
  serve({ entry, link }: FoundRequest, request: IncomingMessage, response: ServerResponse): boolean {
    if (entry.link === undefined) answerEnded(response, this.options.clock);
    else if (!entry.link.serve(link, request, response)) return false;
    this.carry(request.socket, entry);
    return true;
  }

  /** The connection carries requests of a link that is open. */
  isCarrying(socket: Socket): boolean {
    return this.carrying.has(socket);
  }

  /** It brought another request: from now on it is a stranger's. */
  release(socket: Socket): void {
    this.carrying.get(socket)?.sockets.delete(socket);
    this.carrying.delete(socket);
  }

  private carry(socket: Socket, entry: Entry): void {
    const known = this.carrying.get(socket);
    if (known === entry || entry.sockets.size >= MAX_CARRYING_SOCKETS || socket.destroyed) return;
    if (known === undefined && this.carrying.size >= this.mostSockets) return;
    known?.sockets.delete(socket);
    this.carrying.set(socket, entry);
    entry.sockets.add(socket);
    if (known !== undefined) return;
    this.watch(socket);
    this.options.onCarrying(socket);
  }

  /** Once, however often requests of links and of strangers alternate on a front end's connection. */
  private watch(socket: Socket): void {
    if (this.watched.has(socket)) return;
    this.watched.add(socket);
    socket.once('close', () => this.release(socket));
  }

  private handleOver(id: bigint, onOver: () => void): void {
    const entry = this.entries.get(id);
    if (entry !== undefined) entry.link = undefined;
    this.ended.set(id, this.options.clock.setTimeout(() => this.forget(id), REMEMBER_ENDED_MS).unref());
    const [oldest] = this.ended.keys();
    if (this.ended.size > MAX_ENDED && oldest !== undefined) this.forget(oldest);
    onOver();
  }

  private forget(id: bigint): void {
    this.options.clock.clearTimeout(this.ended.get(id));
    this.ended.delete(id);
    this.entries.delete(id);
    this.options.onKnown?.(id);
  }
}
