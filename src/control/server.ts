/**
 * A running process's control socket: takes requests of its own user, and answers them in order. It keeps no process
 * alive, decides nothing, and knows nothing of what it reports.
 */
import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { sleep } from '../async/abortable.ts';
import { type Clock, systemClock, type Timer } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { decodeRequest, encodeData, encodeFault, LineReader, MAX_REPLY_BYTES, MAX_REQUEST_BYTES } from './messages.ts';

/** A person's terminals and a monitor. */
const MAX_CONNECTIONS = 16;
/** From the connection, or the last answer, to the next request, ms. */
const IDLE_MS = 60_000;
/** The longest that an answer takes, ms: a stream that is opened has 20 s, after 10 s for a session. */
const ANSWER_MS = 35_000;
/** From an answer of `watch` to the next, ms. */
const WATCH_MS = 1_000;
/** Requests of a connection that wait for the one before. */
const MAX_WAITING = 16;

/** The answer, or a rejection with a WstunError. */
export type Answer = (target: string | undefined, signal: AbortSignal) => Promise<object> | object;

export interface ControlServerOptions {
  readonly path: string;
  /** By the names of requests. `watch` is `status` every second. */
  readonly answers: Readonly<Record<string, Answer>> & { readonly status: Answer };
  readonly clock?: Clock;
}

export interface ControlServer {
  /** Ends all connections, and removes the socket. */
  close(): Promise<void>;
}

/** Resolves when it listens. Rejects with the error of the system. */
export async function startControlServer({
  path,
  answers,
  clock = systemClock,
}: ControlServerOptions): Promise<ControlServer> {
  const connections = new Set<ControlConnection>();
  const server = createServer((socket) => {
    const connection = new ControlConnection(socket, answers, clock, () => connections.delete(connection));
    connections.add(connection);
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listenAt(server, path);
  server.unref();
  const isFile = process.platform !== 'win32';
  // The directory keeps others out; this is for one that was opened to them since.
  if (isFile) await chmod(path, 0o600);
  return {
    close: async () => {
      server.close();
      for (const connection of connections) connection.end();
      if (isFile) await rm(path, { force: true }).catch(() => {});
    },
  };
}

function listenAt(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      // Such as too many open files: whoever asks is not answered, and the process goes on.
      server.on('error', () => {});
      resolve();
    });
  });
}

class ControlConnection {
  private readonly lines = new LineReader(MAX_REQUEST_BYTES);
  private readonly over = new AbortController();
  private readonly waiting: string[] = [];
  private isAnswering = false;
  private timer: Timer | undefined;

  constructor(
    private readonly socket: Socket,
    private readonly answers: ControlServerOptions['answers'],
    private readonly clock: Clock,
    onEnd: () => void,
  ) {
    socket.unref();
    socket.on('error', () => {});
    socket.on('data', (chunk) => this.handleData(chunk));
    socket.once('close', () => {
      this.over.abort();
      clock.clearTimeout(this.timer);
      onEnd();
    });
    this.setLimit(IDLE_MS);
  }

  end(): void {
    this.socket.destroy();
  }

  private handleData(chunk: Buffer): void {
    const lines = this.lines.push(chunk);
    if (lines === undefined) return this.refuse(new WstunError('control-request', 'it is longer than 4,096 bytes'));
    this.waiting.push(...lines);
    if (this.waiting.length > MAX_WAITING) return this.refuse(new WstunError('control-request', 'too many at once'));
    void this.answerAll();
  }

  private async answerAll(): Promise<void> {
    if (this.isAnswering) return;
    this.isAnswering = true;
    for (let line = this.waiting.shift(); line !== undefined && !this.isOver; line = this.waiting.shift()) {
      this.setLimit(ANSWER_MS);
      await this.answer(line);
      this.setLimit(IDLE_MS);
    }
    this.isAnswering = false;
  }

  private async answer(line: string): Promise<void> {
    try {
      const { request, target } = decodeRequest(line);
      if (request === 'watch') return await this.watch();
      // Own members only: a name such as `constructor` is none.
      const answer = Object.hasOwn(this.answers, request) ? this.answers[request] : undefined;
      if (answer === undefined) throw new WstunError('control-request', `"${request.slice(0, 40)}" is not known here`);
      this.write(encodeData(await answer(target, this.over.signal)));
    } catch (error) {
      this.write(encodeFault(error instanceof WstunError ? error : new WstunError('internal', String(error))));
    }
  }

  /** Until the connection ends; further requests on it are not read. */
  private async watch(): Promise<void> {
    this.socket.pause();
    while (!this.isOver) {
      this.setLimit(ANSWER_MS);
      this.write(encodeData(await this.answers.status(undefined, this.over.signal)));
      await sleep(this.clock, WATCH_MS, this.over.signal);
      // A paused socket does not tell that its other end has gone: the next write does.
    }
  }

  /** Who does not read is not waited for. */
  private write(line: string): void {
    if (this.isOver) return;
    this.socket.write(line);
    if (this.socket.writableLength > MAX_REPLY_BYTES) this.end();
  }

  private refuse(fault: WstunError): void {
    this.socket.pause();
    this.socket.end(encodeFault(fault));
    this.setLimit(ANSWER_MS);
  }

  private get isOver(): boolean {
    return this.over.signal.aborted;
  }

  private setLimit(ms: number): void {
    this.clock.clearTimeout(this.timer);
    if (this.isOver) return;
    this.timer = this.clock.setTimeout(() => this.end(), ms);
    this.timer.unref();
  }
}
