/**
 * Connections that one process hands to another by IPC. Until the other one says that it has a connection, both have
 * it. Knows nothing of what a connection is for.
 */
import type { ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import type { Clock } from '../clock.ts';
import type { Envelope } from './messages.ts';

/** A worker is never busy that long. What is sent to it meanwhile is a few KB a second. */
const STUCK_MS = 30_000;

/** What Node has a connection by. It hands out none of it, and its IPC leaves the following to us. */
interface Handle {
  readonly fd?: number;
  close?(): void;
  readStop?(): void;
}

/** To the process that has started this one, or to one that this one has started. */
type Other = Pick<NodeJS.Process, 'connected' | 'send'> | Pick<ChildProcess, 'connected' | 'send'>;

/**
 * To one that has just died nothing can be sent, and its end is about to be noticed.
 * @param socket goes with it @param onSent it is kept no longer
 */
export function post(other: Other, envelope: Envelope, socket?: Socket, onSent: () => void = () => {}): void {
  if (!other.connected) {
    socket?.destroy();
    return onSent();
  }
  // Node would go on reading until the other process has it, and throw away what comes.
  if (socket !== undefined) handleOf(socket)?.readStop?.();
  other.send?.(envelope, socket, {}, () => {
    // Node has nothing behind it any more, and says so to nobody: what is kept of a connection is kept to its end.
    socket?.emit('close', false);
    onSent();
  });
}

/**
 * What a process was sent and has not read yet, by the number of messages. All of that is kept, so it has a limit: in
 * time, for where a worker starts there is much at once.
 */
export class Backlog {
  private unsent = 0;
  private movedAt = 0;
  private isStuck = false;

  /** @param onStuck it reads nothing, and more is to be sent. Once */
  constructor(
    private readonly onStuck: () => void,
    private readonly clock: Clock,
  ) {}

  get size(): number {
    return this.unsent;
  }

  /** One more message. Returns what is to be called when it is sent. */
  add(): () => void {
    const now = this.clock.now();
    if (this.unsent === 0) this.movedAt = now;
    this.unsent += 1;
    if (now - this.movedAt > STUCK_MS && !this.isStuck) {
      this.isStuck = true;
      this.onStuck();
    }
    return this.handleSent;
  }

  private readonly handleSent = (): void => {
    this.unsent -= 1;
    this.movedAt = this.clock.now();
  };
}

/**
 * A process that dies before it has taken a connection would leave our copy open for ever, and its client would wait on
 * a connection that nobody reads. They are handed over one by one, and further ones wait. Returns what ends those that
 * were not taken.
 */
export function followConnections(child: ChildProcess): () => void {
  let handed: Handle[] = [];
  const send = child.send.bind(child) as (...parameters: readonly unknown[]) => boolean;
  const followed = (...parameters: readonly unknown[]): boolean => {
    const handle = handleOf(parameters[1]);
    // Our copy of one that was taken is closed.
    if (handle !== undefined) handed = [...handed.filter(isOpen), handle];
    return send(...parameters);
  };
  child.send = followed as typeof child.send;
  // To close one again has no effect.
  return () => {
    for (const handle of handed) handle.close?.();
  };
}

function isOpen({ fd = -1 }: Handle): boolean {
  return fd >= 0;
}

/** node:cluster sends the handle itself. */
function handleOf(connection: unknown): Handle | undefined {
  if (typeof connection !== 'object' || connection === null) return undefined;
  const { _handle: handle = connection } = connection as { readonly _handle?: Handle | null };
  return handle === null ? undefined : (handle as Handle);
}
