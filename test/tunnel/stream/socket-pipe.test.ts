import { once } from 'node:events';
import type { Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import { WstunError } from '../../../src/errors.ts';
import {
  type LimiterSink,
  type PipeOptions,
  type PipeResult,
  pipeSocket,
  type RateLimiter,
} from '../../../src/tunnel/stream/socket-pipe.ts';
import { resetSocket } from '../../../src/tunnel/stream/socket-reset.ts';
import type { TunnelStream } from '../../../src/tunnel/stream/stream.ts';
import { Client, tcpServer } from '../../support/net/tcp.ts';
import { endOf } from '../../support/proxy/through-proxy.ts';
import { until } from '../../support/until.ts';

const TARGET = { kind: 'name', name: 'example.com', port: 80 } as const;

interface Joined {
  readonly client: Client;
  readonly socket: Socket;
  readonly stream: TunnelStream;
  /** What the other end of the tunnel holds. */
  readonly far: TunnelStream;
  readonly result: Promise<PipeResult>;
}

/** A client's connection joined to one end of an in-memory stream. `before` sees the ends unjoined. */
async function joined(
  options: PipeOptions = {},
  before: (socket: Socket, client: Client, stream: TunnelStream) => Promise<void> | void = () => {},
): Promise<Joined> {
  const [near, farEnd] = duplexPair({ allowHalfOpen: true });
  const stream = Object.assign(near, { target: TARGET });
  const far = Object.assign(farEnd, { target: TARGET });
  stream.on('error', () => {});
  far.on('error', () => {});
  let accepted: Socket | undefined;
  const client = new Client(await tcpServer((socket) => (accepted = socket.pause())));
  await until(() => accepted !== undefined);
  const socket = accepted!;
  await before(socket, client, stream);
  return { client, socket, stream, far, result: pipeSocket(socket, stream, options) };
}

async function collect(stream: TunnelStream): Promise<string> {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(stream, 'end');
  return Buffer.concat(chunks).toString();
}

/** How many bytes come until the join is over. */
async function bytesUntil(stream: TunnelStream, end: Promise<unknown>): Promise<number> {
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
  await end;
  return bytes;
}

describe('pipeSocket', () => {
  it('pipeSocket carries bytes both ways and ends cleanly when both sides have ended', async () => {
    const { client, far, result } = await joined();
    client.send('request').socket.end();
    expect(await collect(far)).toBe('request');
    far.end('answer');
    expect(await client.rest()).toBe('answer');
    expect(await result).toEqual({ fromSocket: 7, toSocket: 6 });
    expect(client.events).toEqual(['end', 'close']);
  });

  it('pipeSocket lets the socket send on after the tunnel has finished', async () => {
    const { client, far, result } = await joined();
    far.end('bye');
    expect(await client.rest()).toBe('bye');
    client.send('late').socket.end();
    expect(await collect(far)).toBe('late');
    expect((await result).error).toBeUndefined();
  });

  it('pipeSocket delivers bytes that were unshifted before all others', async () => {
    const { client, far } = await joined({}, (socket) => socket.unshift(Buffer.from('first ')));
    client.send('second').socket.end();
    expect(await collect(far)).toBe('first second');
  });

  it('pipeSocket passes on an end that came before it began', async () => {
    const { far, result } = await joined({}, async (socket, client) => {
      client.socket.end();
      await once(socket, 'end');
    });
    expect(await collect(far)).toBe('');
    far.end();
    expect((await result).error).toBeUndefined();
  });

  it('pipeSocket resets the stream when the socket is reset', async () => {
    const { client, stream, result } = await joined();
    client.socket.resetAndDestroy();
    expect((await result).error).toMatchObject({ fault: 'target-reset' });
    expect(stream.errored).toBeInstanceOf(WstunError);
  });

  it('pipeSocket does not take a reset right after data for a clean end', async () => {
    const { client, stream, far, result } = await joined();
    await until(() => !client.socket.connecting);
    client.send('x').socket.resetAndDestroy();
    expect((await result).error).toMatchObject({ fault: 'target-reset' });
    expect(stream.errored).toBeInstanceOf(WstunError);
    expect(far.readableEnded).toBe(false);
  });

  it('pipeSocket resets the socket when the stream is reset, and the client sees no clean end', async () => {
    const { client, stream, result } = await joined();
    stream.destroy(new WstunError('link-lost'));
    expect((await result).error).toMatchObject({ fault: 'link-lost' });
    await until(() => client.events.includes('close'));
    expect(client.events).toEqual(['reset', 'close']);
  });

  it('pipeSocket resets the socket when the stream is destroyed without an error', async () => {
    const { client, stream, result } = await joined();
    stream.destroy();
    expect((await result).error).toMatchObject({ fault: 'target-reset' });
    await until(() => client.events.includes('close'));
    expect(client.events).toEqual(['reset', 'close']);
  });

  it('pipeSocket stops reading the socket while the tunnel takes nothing, and loses no byte', async () => {
    const { client, socket, far } = await joined();
    const sent = 16 * 1024 * 1024;
    client.send(Buffer.alloc(sent, 7));
    await until(() => socket.isPaused());
    expect(socket.bytesRead).toBeLessThan(sent / 4);
    client.socket.end();
    expect((await collect(far)).length).toBe(sent);
  });

  it('pipeSocket closes a socket that was reset when the tunnel has taken nothing for the limit', async () => {
    const { client, socket, stream, result } = await joined({ pausedCheckMs: 20, resetWaitMs: 200 });
    client.send(Buffer.alloc(16 * 1024 * 1024, 7));
    await until(() => socket.isPaused());
    client.socket.resetAndDestroy();
    expect((await result).error).toMatchObject({ fault: 'target-reset' });
    expect(stream.errored).toBeInstanceOf(WstunError);
  });

  it('pipeSocket delivers all that a socket received before it was reset, and then a reset', async () => {
    const { client, socket, far, result } = await joined({ pausedCheckMs: 5 });
    const [written] = [vi.spyOn(socket, '_write')];
    client.send(Buffer.alloc(1024 * 1024, 7));
    await until(() => socket.isPaused());
    client.socket.resetAndDestroy();
    // The look for a reset finds it.
    await until(() => written.mock.calls.length > 0);
    expect(await bytesUntil(far, result)).toBe(socket.bytesRead);
    expect(socket.bytesRead).toBeGreaterThan(100_000);
    expect((await result).error).toMatchObject({ fault: 'target-reset' });
    expect(far.readableEnded).toBe(false);
  });

  it('pipeSocket delivers an unread answer when a write to the socket fails', async () => {
    const { client, far, result } = await joined();
    client.send('HTTP/1.1 413 Too Large').socket.pause();
    // Unread at the client: its end is a reset.
    far.write(Buffer.alloc(50_000));
    await until(() => client.socket.bytesRead > 0);
    client.socket.destroy();
    const writing = setInterval(() => far.write(Buffer.alloc(1000)), 1);
    const chunks: Buffer[] = [];
    far.on('data', (chunk: Buffer) => chunks.push(chunk));
    expect((await result).error).toMatchObject({ fault: 'target-reset' });
    clearInterval(writing);
    expect(Buffer.concat(chunks).toString()).toBe('HTTP/1.1 413 Too Large');
  });

  it('pipeSocket resets the socket after what was written to it, where the other end was reset', async () => {
    const { client, socket, stream, far, result } = await joined();
    client.socket.pause();
    for (let written = 0; written < 16 * 1024 * 1024; written += 64 * 1024) far.write(Buffer.alloc(64 * 1024, 7));
    await until(() => stream.isPaused());
    stream.destroy(new WstunError('target-reset'));
    const given = socket.bytesWritten;
    expect(await endOf(client.socket)).toBe('reset');
    expect(client.received.length).toBe(given);
    expect((await result).error).toMatchObject({ fault: 'target-reset' });
  });

  it('pipeSocket resets a socket that takes nothing after the limit, where the other end was reset', async () => {
    const { client, stream, far, result } = await joined({ resetWaitMs: 200 });
    client.socket.pause();
    for (let written = 0; written < 16 * 1024 * 1024; written += 64 * 1024) far.write(Buffer.alloc(64 * 1024, 7));
    await until(() => stream.isPaused());
    stream.destroy(new WstunError('target-reset'));
    await result;
    expect(await endOf(client.socket)).toBe('reset');
  });

  it('pipeSocket passes on the end of a socket that was reset after it, and then the reset', async () => {
    const { client, far, result } = await joined();
    client.send('all of it').socket.end();
    expect(await collect(far)).toBe('all of it');
    client.socket.resetAndDestroy();
    await once(client.socket, 'close');
    const writing = setInterval(() => far.write('to a socket that is gone'), 5);
    expect((await result).error).toMatchObject({ fault: 'target-reset' });
    clearInterval(writing);
  });

  it('pipeSocket delivers what a limiter holds back before it passes on a reset', async () => {
    const held: [Uint8Array, LimiterSink][] = [];
    const slow: RateLimiter = { send: (chunk, sink) => void held.push([chunk, sink]) };
    const { client, far, result } = await joined({ limiters: { fromSocket: slow, toSocket: slow } });
    await until(() => !client.socket.connecting);
    client.send('first');
    await until(() => held.length === 1);
    client.socket.resetAndDestroy();
    const received: Buffer[] = [];
    far.on('data', (chunk: Buffer) => received.push(chunk));
    const turn = setInterval(() => {
      const [chunk, sink] = held.shift() ?? [];
      if (chunk && !sink?.isGone()) sink?.deliver(chunk);
    }, 20);
    expect((await result).error).toMatchObject({ fault: 'target-reset' });
    clearInterval(turn);
    expect(Buffer.concat(received).toString()).toBe('first');
  });

  it('pipeSocket takes neither slowness nor an end after unread bytes for a reset', async () => {
    const { client, socket, far, result } = await joined({ pausedCheckMs: 5 });
    const writes = vi.spyOn(socket, 'write');
    const sent = 16 * 1024 * 1024;
    client.send(Buffer.alloc(sent, 7)).socket.end();
    await until(() => writes.mock.calls.length >= 5);
    expect((await collect(far)).length).toBe(sent);
    far.end();
    expect(await result).toEqual({ fromSocket: sent, toSocket: 0 });
  });

  // Later releases of Node read the end of a socket only when it is read again, so nothing is half-closed there
  // meanwhile.
  const readsEndAhead = Number(process.versions.node.split('.')[0]) < 22;
  if (readsEndAhead)
    it('pipeSocket aborts a half-closed, idle connection with bytes that the tunnel does not take', async () => {
      const { client, socket, result } = await joined({ pausedCheckMs: 5, halfClosedIdleMs: 200 });
      // In one read, so that the end follows on a paused socket.
      client.send(Buffer.alloc(40_000, 7)).socket.end();
      await until(() => socket.isPaused() && socket.readableEnded);
      expect((await result).error).toMatchObject({ fault: 'target-reset', detail: 'it was half-closed and idle' });
    });

  it('pipeSocket stops reading the tunnel while the client takes nothing, and loses no byte', async () => {
    const { client, socket, stream, far } = await joined();
    client.socket.pause();
    const sent = 16 * 1024 * 1024;
    for (let written = 0; written < sent; written += 64 * 1024) far.write(Buffer.alloc(64 * 1024, 7));
    far.end();
    await until(() => stream.isPaused());
    expect(socket.writableLength).toBeLessThan(sent / 4);
    client.socket.resume();
    await until(() => client.events.includes('end'));
    expect(client.received.length).toBe(sent);
  });

  it('pipeSocket aborts a connection that was half-closed and idle for the limit, and none that is not half-closed', async () => {
    const { client, socket, result } = await joined({ halfClosedIdleMs: 40 });
    expect(socket.timeout).toBeUndefined();
    client.socket.end();
    expect((await result).error).toMatchObject({ fault: 'target-reset', detail: 'it was half-closed and idle' });
  });

  it('pipeSocket ends at once when the socket is closed already', async () => {
    const { stream, result } = await joined({}, (socket) => void socket.destroy());
    expect((await result).error).toMatchObject({ fault: 'target-reset' });
    expect(stream.destroyed).toBe(true);
  });

  it('pipeSocket ends at once when the stream is destroyed already', async () => {
    const { client, result } = await joined({}, (_socket, _client, stream) => void stream.destroy());
    expect((await result).error).toMatchObject({ fault: 'target-reset' });
    await until(() => client.events.includes('close'));
    expect(client.events).toEqual(['reset', 'close']);
  });
});

describe('resetSocket', () => {
  it('resetSocket closes the descriptor even while a FIN is on its way, where libuv refuses to reset', async () => {
    let server: Socket | undefined;
    const client = new Client(await tcpServer((socket) => (server = socket)));
    await until(() => server !== undefined);
    server!.end('last');
    resetSocket(server!);
    await once(server!, 'close');
    expect(await client.rest()).toBe('last');
  });
});
