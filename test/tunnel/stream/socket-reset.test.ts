/** Over real TCP: what the kernel does with a reset is what these are about. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { unacknowledgedBytes } from '../../../src/tunnel/stream/kernel-queue.ts';
import { holdWriteErrors, resetWhenDelivered, takeUnread } from '../../../src/tunnel/stream/socket-reset.ts';
import { Client, tcpServer } from '../../support/net/tcp.ts';
import { endOf } from '../../support/proxy/through-proxy.ts';
import { until } from '../../support/until.ts';

/** An accepted socket, paused, and the program at its other end. */
async function pair(host = '127.0.0.1'): Promise<{ socket: Socket; client: Client }> {
  let accepted: Socket | undefined;
  const port = await tcpServer((socket) => (accepted = socket.pause()), host);
  const client = new Client(connect({ host, port, allowHalfOpen: true, noDelay: true }));
  await until(() => accepted !== undefined);
  return { socket: accepted!, client };
}

/** More than both kernels take from a reader that rests. */
function fill(socket: Socket): void {
  for (let i = 0; i < 256; i++) socket.write(Buffer.alloc(64 * 1024, i));
}

describe('resetWhenDelivered', () => {
  it.each([['127.0.0.1'], ['::1'], ['::ffff:127.0.0.1']])(
    'resetWhenDelivered delivers all that was written to a reader that comes late, and then a reset (%s)',
    async (host) => {
      const { socket, client } = await pair(host);
      client.socket.pause();
      fill(socket);
      resetWhenDelivered(socket);
      await until(() => client.socket.readableLength > 0);
      expect(socket.destroyed).toBe(false);
      expect(await endOf(client.socket)).toBe('reset');
      expect(client.received.length).toBe(256 * 64 * 1024);
    },
  );

  it('resetWhenDelivered resets after the end of a socket that was ended', async () => {
    const { socket, client } = await pair();
    client.socket.pause();
    fill(socket);
    socket.end();
    resetWhenDelivered(socket);
    const closed = once(socket, 'close');
    client.socket.resume();
    await until(() => client.events.includes('end'));
    expect(client.received.length).toBe(256 * 64 * 1024);
    await closed;
  });

  it('resetWhenDelivered resets without the rest where there is no progress for the limit', async () => {
    const { socket, client } = await pair();
    client.socket.pause();
    fill(socket);
    resetWhenDelivered(socket, 100);
    await once(socket, 'close');
    expect(await endOf(client.socket)).toBe('reset');
    expect(client.received.length).toBeLessThan(256 * 64 * 1024);
  });

  it('resetWhenDelivered resets a socket to which nothing was written at once', async () => {
    const { socket, client } = await pair();
    resetWhenDelivered(socket);
    expect(socket.destroyed).toBe(true);
    expect(await endOf(client.socket)).toBe('reset');
  });
});

describe('unacknowledgedBytes', () => {
  it('unacknowledgedBytes returns what the peer’s kernel has not acknowledged, and 0 for a closed connection', async () => {
    const { socket, client } = await pair();
    client.socket.pause();
    fill(socket);
    await until(() => client.socket.readableLength > 0);
    const held = await unacknowledgedBytes(socket);
    // Where the system tells nothing, nothing is claimed.
    if (process.platform !== 'linux') return expect(held).toBeUndefined();
    expect(held).toBeGreaterThan(0);
    client.socket.resume();
    await until(() => client.received.length === 256 * 64 * 1024);
    expect(await unacknowledgedBytes(socket)).toBe(0);
    client.socket.resetAndDestroy();
    await once(client.socket, 'close');
    expect(await unacknowledgedBytes(socket)).toBe(0);
  });
});

describe('holdWriteErrors', () => {
  it('holdWriteErrors lets bytes that came before a reset be read although writing fails', async () => {
    const { socket, client } = await pair();
    const writes = holdWriteErrors(socket);
    expect(holdWriteErrors(socket)).toBe(writes);
    client.send('answer').socket.pause();
    socket.write(Buffer.alloc(1024 * 1024));
    await until(() => client.socket.bytesRead > 0 && socket.readableLength > 0);
    client.send(' and more');
    // Unread at the client: its close is a reset, and the write meets it before a read does.
    client.socket.destroy();
    socket.write('too late');
    await new Promise<void>((resolve) => writes.onError(resolve));
    expect(socket.destroyed).toBe(false);
    const read: string[] = [];
    socket.on('data', (chunk: Buffer) => read.push(chunk.toString())).resume();
    await once(socket, 'end');
    expect(read.join('')).toBe('answer and more');
    expect(writes.error).toMatchObject({ syscall: 'write' });
  });
});

describe('takeUnread', () => {
  it('takeUnread returns what Node had read of a socket when reading failed', async () => {
    const { socket, client } = await pair();
    const unread = new Promise<Uint8Array[]>((resolve) => socket.once('error', () => resolve(takeUnread(socket))));
    client.send('one ');
    await until(() => socket.readableLength > 0);
    client.send('two');
    await until(() => socket.readableLength === 7);
    client.socket.resetAndDestroy();
    expect(Buffer.concat(await unread).toString()).toBe('one two');
  });
});
