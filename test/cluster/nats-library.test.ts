/** @module-tag waits */
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { connect } from '../../src/cluster/nats-library.ts';
import { tcpServer } from '../support/net/tcp.ts';

const LIMIT_MS = 200;

describe('a connection to NATS', () => {
  it('an attempt at a NATS server that says nothing leaves no socket open', async () => {
    const sockets: Socket[] = [];
    const port = await tcpServer((socket) => void sockets.push(socket.resume()));
    const attempt = connect({ servers: [`127.0.0.1:${port}`], timeout: LIMIT_MS, reconnect: false });
    await expect(attempt).rejects.toThrow('timeout');
    await expect.poll(() => sockets.map(({ readableEnded }) => readableEnded)).toEqual([true]);
  });
});
