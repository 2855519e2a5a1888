/**
 * Links that one worker hands to another: messages go over a Unix socket, each link by a WebSocket of its own, so that
 * back-pressure and its end are those of any link. The socket is in a directory that only the user of the relay can
 * enter. Knows neither what the messages are nor why they are passed.
 */
import { rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { Logger } from '../observability/logger.ts';
import { splice } from '../relay/splice.ts';
import type { CloseCode, Message, MessageLink, MessageLinkHandler } from '../transport/message-link.ts';
import { WebSocketAcceptor } from '../transport/websocket/websocket-accept.ts';
import { dialLocal } from '../transport/websocket/websocket-local.ts';
import type { WorkerId } from './messages.ts';

/** Why a link is passed, and what is known of it. */
export interface PassedFacts {
  /** For logs: where its client or exit is. */
  readonly remote: string;
  readonly maxMessageBytes: number;
  /** For whoever takes it. */
  readonly purpose: Readonly<Record<string, unknown>>;
}

/** The file of a worker's socket. */
export function socketPathOf(directory: string, worker: WorkerId): string {
  return join(directory, `${worker}.sock`);
}

export interface TakenHandler {
  /** Must set the link's handler in its turn. */
  onLink(link: MessageLink, purpose: PassedFacts['purpose']): void;
  /** Of an HTTP link, whose connection another worker has. */
  onRequest(request: IncomingMessage, response: ServerResponse): void;
}

/** Takes links, and requests of HTTP links, from other workers. */
export async function takeFromWorkers(
  path: string,
  { onLink, onRequest }: TakenHandler,
  logger: Logger,
): Promise<Server> {
  const acceptor = new WebSocketAcceptor();
  // Another worker has limits for its client, and answers may take long.
  const server = createServer({ requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 0 }, onRequest);
  server.on('upgrade', (request, socket, head) => {
    const facts = factsIn(request);
    if (facts === undefined) return void socket.destroy();
    acceptor.accept(request, socket, head, undefined, facts.remote).then(
      (link) => onLink(new PassedLink(link, facts), facts.purpose),
      (error: unknown) => logger.debug({ reason: String(error) }, 'a link of another worker was lost'),
    );
  });
  // Of one that was killed: ids come again after 256 starts.
  await rm(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // Otherwise node:cluster would have the parent listen, and hand out what comes in turn.
    server.listen({ path, exclusive: true }, resolve);
  });
  return server;
}

/** Hands a link over; takes its handler. Where the other worker has gone, the link is aborted. */
export function passLink(path: string, link: MessageLink, facts: PassedFacts): void {
  link.pause();
  const early: Message[] = [];
  const waiting = new WaitingLink(early);
  link.setHandler(waiting);
  openLink(path, facts).then(
    (passed) => {
      if (waiting.isClosed) return passed.abort();
      for (const message of early) passed.send(message);
      splice(link, passed, { hasMoved: false }, () => {});
    },
    () => link.abort(),
  );
}

function openLink(path: string, facts: PassedFacts): Promise<MessageLink> {
  return dialLocal(path, { 'X-Facts': Buffer.from(JSON.stringify(facts)).toString('base64url') }, facts.remote);
}

function factsIn({ headers }: IncomingMessage): PassedFacts | undefined {
  try {
    return JSON.parse(Buffer.from(String(headers['x-facts']), 'base64url').toString()) as PassedFacts;
  } catch {
    return undefined;
  }
}

/** Before the other worker has taken it. */
class WaitingLink implements MessageLinkHandler {
  isClosed = false;

  constructor(private readonly early: Message[]) {}

  handleMessage(message: Message): void {
    this.early.push(message);
  }

  handleDrain(): void {}

  handleClose(): void {
    this.isClosed = true;
  }
}

/** As the link that was passed: what it can send is bound by that one. */
class PassedLink implements MessageLink {
  readonly maxMessageBytes: number;

  constructor(
    private readonly inner: MessageLink,
    { maxMessageBytes }: PassedFacts,
  ) {
    this.maxMessageBytes = maxMessageBytes;
  }

  get queuedBytes(): number {
    return this.inner.queuedBytes;
  }

  get remote(): string {
    return this.inner.remote;
  }

  setHandler(handler: MessageLinkHandler): void {
    this.inner.setHandler(handler);
  }

  send(message: Message): boolean {
    return this.inner.send(message);
  }

  pause(): void {
    this.inner.pause();
  }

  resume(): void {
    this.inner.resume();
  }

  close(code?: CloseCode): void {
    this.inner.close(code);
  }

  abort(): void {
    this.inner.abort();
  }
}
