/**
 * Resets of TCP sockets that cost no byte which TCP itself would have delivered: what had come before a reset is read
 * to its end, and a reset of our own goes out behind what was written. Knows sockets alone, nothing of the tunnel.
 *
 * Two things of Node and the kernel stand in the way. Linux keeps what came before a RST readable (tcp(7); RFC 9293
 * §3.10.7.4 would let it go), but Node destroys a socket as soon as a write fails, unread bytes and all. And closing
 * with RST (SO_LINGER 0) drops what the kernel has not got acknowledged.
 */
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { unacknowledgedBytes } from './kernel-queue.ts';
import { onStandstill } from './standstill.ts';

/**
 * How long the bytes before a reset may stand still, ms, before the reset goes without them: a reader that rests, or a
 * network that loses packets, takes less; one that never reads would hold a connection of which the other end is gone.
 */
export const RESET_WAIT_MS = 30_000;

/** How long a reset may go unnoticed on a socket that is not read. A look costs a system call, some 5 µs. */
const PAUSED_CHECK_MS = 1_000;

/** Where the system does not tell what it holds for the peer: a retransmission on an ordinary path. */
const BLIND_WAIT_MS = 500;

/** Between two looks at what the kernel holds. */
const FIRST_LOOK_MS = 2;
const LAST_LOOK_MS = 500;

const NOTHING = new Uint8Array(0);

/**
 * Closes with RST at once, so that the other end cannot take it for a clean end. While a FIN is being sent, libuv
 * refuses to reset (EINVAL) and Node then loses the handle: the descriptor would stay open. That lasts one turn of the
 * event loop.
 */
export function resetSocket(socket: Socket): void {
  if (socket.destroyed) return;
  const finishing = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0;
  if (finishing) socket.once('finish', () => resetSocket(socket));
  else socket.resetAndDestroy();
}

/**
 * Closes with RST behind all that was written to the socket, and behind its FIN if it was ended: once Node has handed
 * everything to the kernel, and the kernel has it acknowledged. Where nothing moves for `limitMs`, at once. What the
 * socket still brings is the caller's: read and drop it, or the other end may never come to read.
 */
export function resetWhenDelivered(socket: Socket, limitMs = RESET_WAIT_MS): void {
  if (socket.destroyed || socket.bytesWritten === 0) return resetSocket(socket);
  let held: number | undefined;
  const stop = onStandstill(
    () => `${socket.writableLength} ${held}`,
    limitMs,
    () => resetSocket(socket),
  );
  socket.once('close', stop);
  void untilDelivered(socket, (bytes) => (held = bytes)).then(() => resetSocket(socket));
}

async function untilDelivered(socket: Socket, note: (bytes: number | undefined) => void): Promise<void> {
  for (let waitMs = FIRST_LOOK_MS; !socket.destroyed; waitMs = Math.min(2 * waitMs, LAST_LOOK_MS)) {
    const isWritten = socket.writableLength === 0 && (!socket.writableEnded || socket.writableFinished);
    const bytes = await unacknowledgedBytes(socket);
    note(bytes);
    if (isWritten && bytes === 0) return;
    await delay(bytes === undefined ? BLIND_WAIT_MS : waitMs, undefined, { ref: false });
    if (isWritten && bytes === undefined) return;
  }
}

/** What `holdWriteErrors` has found. */
export interface WriteErrors {
  /** The first error of a write: the connection is over, but for what can still be read. */
  readonly error: Error | undefined;
  /** The other end had finished before it reset: an 'end' is one. */
  readonly isBehindEnd: boolean;
  /** Called at once where there is an error already. */
  onError(listener: () => void): void;
}

/** One a socket, however often it is asked for. */
const HELD = new WeakMap<Socket, HeldWriteErrors>();

/**
 * From now on an error of a write does not destroy the socket: it is noted, writes from then on go nowhere and succeed,
 * and reading goes on to the 'end' or 'error' that follows. That 'end' is none unless `isBehindEnd`: the write has
 * taken the reset from the kernel, which then tells the reader of an end. Whoever calls this MUST destroy the socket
 * when it has ended.
 */
export function holdWriteErrors(socket: Socket): WriteErrors {
  const known = HELD.get(socket);
  if (known !== undefined) return known;
  const held = new HeldWriteErrors();
  held.watch(socket);
  HELD.set(socket, held);
  return held;
}

class HeldWriteErrors implements WriteErrors {
  error: NodeJS.ErrnoException | undefined;
  private readonly listeners: (() => void)[] = [];

  /**
   * Linux keeps EPIPE for the first write of a connection that was reset behind a FIN, and ECONNRESET for any other.
   */
  get isBehindEnd(): boolean {
    return process.platform === 'linux' && this.error?.code === 'EPIPE';
  }

  onError(listener: () => void): void {
    if (this.error === undefined) this.listeners.push(listener);
    else listener();
  }

  /**
   * `_write` and `_writev` are what Node documents as the place of a stream's writing; its own code calls them by name.
   */
  watch(socket: Socket): void {
    const { _write: write, _writev: writev } = socket;
    type Done = (error?: Error | null) => void;
    const settle = (done: Done) => (error?: Error | null) => {
      // The end of a socket that was destroyed here fails what is under way, and is no finding.
      if (!error || socket.destroyed) return done(error);
      this.note(error);
      done();
    };
    socket._write = (chunk, encoding, done) =>
      this.error === undefined ? write.call(socket, chunk, encoding, settle(done)) : done();
    if (writev === undefined) return;
    socket._writev = (chunks, done) => (this.error === undefined ? writev.call(socket, chunks, settle(done)) : done());
  }

  private note(error: Error): void {
    if (this.error !== undefined) return;
    this.error = error;
    for (const listener of this.listeners.splice(0)) listener();
  }
}

/**
 * What Node had read of a socket or stream before it failed. Call it at 'error', or at 'close' before anybody else
 * reads.
 */
export function takeUnread(from: Readable): Buffer[] {
  const chunks: Buffer[] = [];
  for (let chunk: unknown = from.read(); chunk instanceof Buffer; chunk = from.read()) chunks.push(chunk);
  return chunks;
}

/**
 * Finds a reset of a socket while nobody reads it: libuv does not poll it then, so the reset would be seen only when
 * there is room again, if ever. A write of nothing fails on a reset connection, and does nothing to any other: not to
 * one that is slow, nor to one whose FIN stands behind unread bytes. While other writes are under way libuv polls;
 * after our own FIN, or when the other end's was read, the idle limit must do. Returns what ends it; a socket that is
 * closed needs no end.
 */
export function detectResets(socket: Socket, everyMs = PAUSED_CHECK_MS): () => void {
  let timer: NodeJS.Timeout | undefined;
  // Not cleared when reading goes on: one that pauses after each read would set a timer each time.
  const begin = (): void => {
    timer ??= setTimeout(check, everyMs).unref();
  };
  const check = (): void => {
    timer = undefined;
    // A write restarts the timer of the idle limit, so there must be none behind the end.
    const isOver = !socket.writable || socket.readableEnded || HELD.get(socket)?.error !== undefined;
    if (!socket.isPaused() || isOver) return;
    if (socket.writableLength === 0) socket.write(NOTHING);
    begin();
  };
  socket.on('pause', begin);
  if (socket.isPaused()) begin();
  return () => {
    socket.off('pause', begin);
    clearTimeout(timer);
  };
}

/**
 * Whether a socket's 'end' is a FIN; call it at 'end'. libuv reports a reset that came right behind data as a clean end
 * (POLLHUP after a partial read; libuv/libuv#4997 mends it, Node 20 is without). A write of nothing puts no byte on the
 * wire but fails on a reset connection, as do writes under way. After our own FIN there is no such test, and the end is
 * believed.
 * @param errors of the same socket: they tell of what was no end
 */
export function confirmEnd(socket: Socket, errors: WriteErrors, onEnd: () => void): void {
  const settle = (error?: Error | null): void => {
    if (!error && (errors.error === undefined || errors.isBehindEnd)) onEnd();
  };
  if (errors.error !== undefined) return settle();
  if (socket.writableEnded || socket.writableLength > 0) setImmediate(settle);
  else socket.write(NOTHING, settle);
}
