/**
 * Resets of TCP sockets that lose no byte which TCP itself would have delivered: bytes that came before a reset are
 * read to the end, and a reset of our own is sent after what was written. Knows only sockets, nothing of the tunnel.
 *
 * Node and the kernel make that hard in two ways. Linux keeps bytes that came before a RST readable (tcp(7); RFC 9293
 * §3.10.7.4 would drop them), but Node destroys a socket, with its unread bytes, as soon as a write fails. And closing
 * with RST (SO_LINGER 0) drops the bytes that the peer has not acknowledged.
 */
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { sleep } from '../../async/abortable.ts';
import { type Clock, systemClock, type Timer } from '../../clock.ts';
import { unacknowledgedBytes } from './kernel-queue.ts';
import { onStandstill } from './standstill.ts';

/**
 * How long the bytes before a reset may make no progress, ms, before the reset goes without them: a reader that pauses,
 * or a network that loses packets, needs less; one that never reads would hold a connection whose other end is gone.
 */
export const RESET_WAIT_MS = 30_000;

/** How long a reset may go unnoticed on a socket that is not read. A check costs a system call, some 5 µs. */
const PAUSED_CHECK_MS = 1_000;

/** Where the system does not tell how much it holds for the peer: a retransmission on an ordinary path. */
const BLIND_WAIT_MS = 500;

/** Between two checks of what the kernel holds: at first, and at most. */
const FIRST_CHECK_MS = 2;
const LONGEST_CHECK_MS = 500;

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
 * Closes with RST after all that was written to the socket, and after its FIN if it was ended: when Node has handed
 * everything to the kernel, and the peer has acknowledged it. Where there is no progress for `limitMs`, at once. The
 * caller must read, and may drop, what the socket still receives, or the other end may never come to read.
 */
export function resetWhenDelivered(socket: Socket, limitMs = RESET_WAIT_MS, clock: Clock = systemClock): void {
  if (socket.destroyed || socket.bytesWritten === 0) return resetSocket(socket);
  let held: number | undefined;
  const stop = onStandstill(
    clock,
    () => `${socket.writableLength} ${held}`,
    limitMs,
    () => resetSocket(socket),
  );
  socket.once('close', stop);
  void untilDelivered(socket, clock, (bytes) => (held = bytes)).then(() => resetSocket(socket));
}

async function untilDelivered(socket: Socket, clock: Clock, note: (bytes: number | undefined) => void): Promise<void> {
  for (let waitMs = FIRST_CHECK_MS; !socket.destroyed; waitMs = Math.min(2 * waitMs, LONGEST_CHECK_MS)) {
    const isWritten = socket.writableLength === 0 && (!socket.writableEnded || socket.writableFinished);
    const bytes = await unacknowledgedBytes(socket);
    note(bytes);
    if (isWritten && bytes === 0) return;
    await sleep(clock, bytes === undefined ? BLIND_WAIT_MS : waitMs);
    if (isWritten && bytes === undefined) return;
  }
}

/** What `holdWriteErrors` has found. */
export interface WriteErrors {
  /** The first error of a write: the connection is over, except for what can still be read. */
  readonly error: Error | undefined;
  /** The other end had finished before it reset: an 'end' is a clean end. */
  readonly isAfterEnd: boolean;
  /** Called at once where there is an error already. */
  onError(listener: () => void): void;
}

/** One for each socket, however often it is asked for. */
const HELD = new WeakMap<Socket, HeldWriteErrors>();

/**
 * From now on an error of a write does not destroy the socket: it is noted, later writes are dropped and succeed, and
 * reading goes on to the 'end' or 'error' that follows. That 'end' is not clean unless `isAfterEnd`: the write has
 * taken the reset from the kernel, which then reports an end to the reader. The caller MUST destroy the socket when it
 * has ended.
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

  /** Linux returns EPIPE to the first write after a FIN and a reset, and ECONNRESET to any other. */
  get isAfterEnd(): boolean {
    return process.platform === 'linux' && this.error?.code === 'EPIPE';
  }

  onError(listener: () => void): void {
    if (this.error === undefined) this.listeners.push(listener);
    else listener();
  }

  /** `_write` and `_writev` are where Node documents that a stream writes; its code calls them by name. */
  watch(socket: Socket): void {
    const { _write: write, _writev: writev } = socket;
    type Done = (error?: Error | null) => void;
    const settle = (done: Done) => (error?: Error | null) => {
      // Destroying the socket here fails the write that is under way: that says nothing of the connection.
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

/** What Node had read before the failure. Call it at 'error', or at 'close' before anything else reads. */
export function takeUnread(from: Readable): Buffer[] {
  const chunks: Buffer[] = [];
  for (let chunk: unknown = from.read(); chunk instanceof Buffer; chunk = from.read()) chunks.push(chunk);
  return chunks;
}

/**
 * Detects a reset of a socket that is not read: libuv does not poll it then, so the reset would be seen only when there
 * is room again, if ever. An empty write fails on a reset connection, and does nothing to any other: neither to a slow
 * one, nor to one whose FIN follows unread bytes. While other writes are under way libuv polls; after our own FIN, or
 * when the other end's FIN was read, only the idle limit applies. Returns a function that ends it; a closed socket
 * needs no end.
 */
export function detectResets(socket: Socket, everyMs = PAUSED_CHECK_MS, clock: Clock = systemClock): () => void {
  let timer: Timer | undefined;
  // Not cleared when reading goes on: a socket that pauses after each read would set a timer each time.
  const begin = (): void => {
    if (timer !== undefined) return;
    timer = clock.setTimeout(check, everyMs);
    timer.unref();
  };
  const check = (): void => {
    timer = undefined;
    // A write restarts the timer of the idle limit, so there must be none after the end.
    const isOver = !socket.writable || socket.readableEnded || HELD.get(socket)?.error !== undefined;
    if (!socket.isPaused() || isOver) return;
    if (socket.writableLength === 0) socket.write(NOTHING);
    begin();
  };
  socket.on('pause', begin);
  if (socket.isPaused()) begin();
  return () => {
    socket.off('pause', begin);
    clock.clearTimeout(timer);
  };
}

/**
 * Whether a socket's 'end' is a FIN; call it at 'end'. libuv reports a reset that came right after data as a clean end
 * (POLLHUP after a partial read; fixed in libuv/libuv#4997, not in Node 20). An empty write puts no byte on the wire
 * but fails on a reset connection, as do writes under way. After our own FIN there is no such test, and the end counts
 * as clean.
 * @param errors of the same socket: an error means that the end is not clean
 */
export function confirmEnd(socket: Socket, errors: WriteErrors, onEnd: () => void): void {
  const settle = (error?: Error | null): void => {
    if (!error && (errors.error === undefined || errors.isAfterEnd)) onEnd();
  };
  if (errors.error !== undefined) return settle();
  if (socket.writableEnded || socket.writableLength > 0) setImmediate(settle);
  else socket.write(NOTHING, settle);
}
