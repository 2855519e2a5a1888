/** Asks a running process by its control socket. */
import { connect, type Socket } from 'node:net';
import { WstunError } from '../errors.ts';
import { codeOf } from '../state/lock.ts';
import {
  type ControlReply,
  type ControlRequest,
  decodeReply,
  encodeRequest,
  LineReader,
  MAX_REPLY_BYTES,
} from './messages.ts';
import { type ControlPlace, removeStale } from './places.ts';

/** For a process that is stopped, or whose machine is overloaded, ms. */
const REPLY_MS = 5_000;

/**
 * A connection to one process. `undefined`: nobody listens there any more, and the socket was removed.
 * @throws WstunError control-failed
 */
export async function openControl(place: ControlPlace): Promise<Control | undefined> {
  const socket = connect(place.path);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
  } catch (error) {
    socket.destroy();
    if (codeOf(error) === 'ENOENT') return undefined;
    if (codeOf(error) !== 'ECONNREFUSED')
      throw new WstunError('control-failed', `${place.path}: ${codeOf(error)}`, { cause: error });
    await removeStale(place);
    return undefined;
  }
  return new Control(socket, place);
}

interface Waiter {
  resolve(reply: ControlReply): void;
  reject(error: WstunError): void;
}

export class Control {
  private readonly lines = new LineReader(MAX_REPLY_BYTES);
  /** Answers that were not waited for any longer, and come all the same. */
  private late = 0;
  private waiter: Waiter | undefined;
  private failure: WstunError | undefined;

  constructor(
    private readonly socket: Socket,
    readonly place: ControlPlace,
  ) {
    socket.on('data', (chunk) => this.handleData(chunk));
    socket.on('error', () => {});
    socket.once('close', () => this.fail(new WstunError('control-failed', `${this.who} has ended the connection`)));
  }

  /**
   * The data of the answer. One request at a time, and no `watch`.
   * @throws WstunError control-failed, control-refused with what the process says
   */
  async ask(request: ControlRequest, limitMs = REPLY_MS): Promise<Readonly<Record<string, unknown>>> {
    this.socket.write(encodeRequest(request));
    const reply = await this.receive(limitMs);
    if (reply.reply === 'ok') return reply.data;
    throw new WstunError('control-refused', reply.message, { fix: '' });
  }

  close(): void {
    this.socket.destroy();
  }

  private get who(): string {
    return `the ${this.place.role} with process id ${this.place.pid}`;
  }

  private async receive(limitMs: number): Promise<ControlReply> {
    if (this.failure !== undefined) throw this.failure;
    let limit: NodeJS.Timeout | undefined;
    try {
      return await new Promise<ControlReply>((resolve, reject) => {
        this.waiter = { resolve, reject };
        const seconds = Math.round(limitMs / 1000);
        const late = new WstunError('control-failed', `${this.who} did not answer within ${seconds} s`);
        limit = setTimeout(() => {
          this.late += 1;
          reject(late);
        }, limitMs);
      });
    } finally {
      clearTimeout(limit);
      this.waiter = undefined;
    }
  }

  private handleData(chunk: Buffer): void {
    try {
      const lines = this.lines.push(chunk);
      if (lines === undefined) throw new WstunError('control-failed', `${this.who} sent more than 4 MiB`);
      for (const line of lines) this.take(decodeReply(line));
    } catch (error) {
      this.fail(error instanceof WstunError ? error : new WstunError('internal', String(error)));
      this.close();
    }
  }

  private take(reply: ControlReply): void {
    if (this.late > 0) this.late -= 1;
    else this.waiter?.resolve(reply);
  }

  private fail(error: WstunError): void {
    this.failure ??= error;
    this.waiter?.reject(error);
  }
}
