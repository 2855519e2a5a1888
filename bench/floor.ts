/**
 * The floor: a forwarder that seals, or opens, what it carries with the cipher of wstun's records, and does nothing
 * else: no streams, no sessions, no WebSocket, one TCP connection for each of the load's. Two in a row carry sealed
 * bytes for as little as Node can.
 *
 *     node floor.js socks PORT   accepts the load, as `forwarder.js socks`; between it and 127.0.0.1:PORT all is sealed
 *     node floor.js to PORT      accepts sealed connections, opens them, and carries them to 127.0.0.1:PORT
 *
 * A record is 4 bytes of length, ciphertext and tag. All memory is given back as soon as the kernel has the bytes,
 * where Node can.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { negotiate } from './socks.ts';

const [mode = '', portText = ''] = process.argv.slice(2);
const port = Number(portText);
const acceptsSealed = mode === 'to';

const HEADER_BYTES = 4;
/** As much as a record of wstun holds. */
const RECORD_BYTES = 48 * 1024;
const TAG_BYTES = 16;
/** Known to everybody, for nobody is to be kept out. */
const KEY = Buffer.alloc(32, 7);
const NONCE_BYTES = 12;
/** All dialled sockets read into it: what they read is sealed or opened before the next read. */
const READ_BUFFER = Buffer.allocUnsafeSlow(256 * 1024);
/** Smaller pieces cost more to give back than to collect. */
const GIVE_BACK_BYTES = 4096;

/** Node 20 has none. */
const { transfer } = ArrayBuffer.prototype as { transfer?: (this: ArrayBufferLike, length: number) => ArrayBuffer };

function giveBack({ buffer, length }: Buffer): void {
  if (length >= GIVE_BACK_BYTES && length === buffer.byteLength) transfer?.call(buffer, 0);
}

/** What has been written to a socket and may not be with the kernel yet. */
class Sink {
  readonly socket: Socket;
  private readonly written: Buffer[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('drain', () => this.release());
  }

  write(...pieces: readonly Buffer[]): void {
    this.socket.cork();
    for (const piece of pieces) this.socket.write(piece);
    this.socket.uncork();
    this.written.push(...pieces);
    this.release();
  }

  private release(): void {
    if (this.socket.writableLength === 0) for (const piece of this.written.splice(0)) giveBack(piece);
  }
}

type Take = (chunk: Buffer) => void;

/** The nonces of one direction. */
function counter(): () => Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  let count = 0;
  return () => {
    nonce.writeUIntBE(count++, NONCE_BYTES - 6, 6);
    return nonce;
  };
}

function sealTo(sink: Sink): Take {
  const nextNonce = counter();
  return (chunk) => {
    for (let at = 0; at < chunk.length; at += RECORD_BYTES) {
      const cipher = createCipheriv('aes-256-gcm', KEY, nextNonce());
      const sealed = cipher.update(chunk.subarray(at, at + RECORD_BYTES));
      cipher.final();
      const header = Buffer.allocUnsafe(HEADER_BYTES);
      header.writeUInt32BE(sealed.length);
      sink.write(header, sealed, cipher.getAuthTag());
    }
  };
}

function openTo(sink: Sink): Take {
  const nextNonce = counter();
  const open = (record: Buffer): void => {
    const decipher = createDecipheriv('aes-256-gcm', KEY, nextNonce());
    decipher.setAuthTag(record.subarray(-TAG_BYTES));
    const opened = decipher.update(record.subarray(HEADER_BYTES, -TAG_BYTES));
    decipher.final();
    sink.write(opened);
  };
  let partial: Buffer | undefined;
  let filled = 0;
  return (chunk) => {
    for (let at = 0; at < chunk.length; ) {
      const whole = filled === 0 ? recordLength(chunk, at) : Number.POSITIVE_INFINITY;
      if (at + whole <= chunk.length) {
        open(chunk.subarray(at, at + whole));
        at += whole;
        continue;
      }
      // It lies in several reads.
      partial ??= Buffer.allocUnsafeSlow(HEADER_BYTES + RECORD_BYTES + TAG_BYTES);
      const wanted = filled < HEADER_BYTES ? HEADER_BYTES : recordLength(partial, 0);
      const copied = chunk.copy(partial, filled, at, at + wanted - filled);
      filled += copied;
      at += copied;
      if (filled < HEADER_BYTES || filled < recordLength(partial, 0)) continue;
      open(partial.subarray(0, filled));
      filled = 0;
    }
  };
}

/** Infinite where its header is not all there. */
function recordLength(bytes: Buffer, at: number): number {
  if (at + HEADER_BYTES > bytes.length) return Number.POSITIVE_INFINITY;
  return HEADER_BYTES + bytes.readUInt32BE(at) + TAG_BYTES;
}

/** A dialled socket, and where what it reads goes from the moment that there is somebody to take it. */
interface Dialled {
  readonly socket: Socket;
  take: (chunk: Buffer) => boolean;
}

function dial(): Dialled {
  const callback = (bytes: number): boolean => dialled.take(READ_BUFFER.subarray(0, bytes));
  const onread = { buffer: READ_BUFFER, callback };
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true, onread });
  const dialled: Dialled = { socket, take: () => true };
  return dialled;
}

function join(near: Socket, far: Dialled): void {
  const [toNear, toFar] = [new Sink(near), new Sink(far.socket)];
  const [up, down] = acceptsSealed ? [openTo(toFar), sealTo(toNear)] : [sealTo(toFar), openTo(toNear)];
  near.on('data', (chunk: Buffer) => {
    up(chunk);
    giveBack(chunk);
    if (far.socket.writableNeedDrain) near.pause();
  });
  far.take = (chunk) => {
    down(chunk);
    return !near.writableNeedDrain;
  };
  for (const [from, to] of [
    [near, far.socket],
    [far.socket, near],
  ] as const) {
    to.on('drain', () => from.resume());
    from.on('end', () => to.end());
    from.on('error', () => to.destroy());
  }
  near.resume();
}

function serve(near: Socket): void {
  if (acceptsSealed) join(near, dial());
  else negotiate(near, dial, join);
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, serve);
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
await once(server, 'listening');
process.stdout.write(`${JSON.stringify({ event: 'ready', port: (server.address() as AddressInfo).port })}\n`);
