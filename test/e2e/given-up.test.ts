/**
 * A program that gives up one connection after the other (a port scan, a health check with a short limit) harms no
 * other program.
 */
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { blackHole } from '../support/net/black-hole.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { startStack } from '../support/programs/wstun-stack.ts';
import { connectThrough, socks5Request, take } from '../support/proxy/through-proxy.ts';

const CONNECTIONS = 14_000;
const PER_SECOND = 900;
/** Longer than a busy machine takes to forward the open, shorter than any answer of a silent address. */
const PATIENCE_MS = 80;

/**
 * Connections that the proxy has not answered, or that are not given up yet. More, and a busy machine would be what is
 * tested.
 */
const MOST_AT_ONCE = 256;
let atOnce = 0;

/** Asks for a connection through the proxy and resets it before an answer can come. */
function giveUp(proxy: number, silent: number): void {
  const socket = connect({ host: '127.0.0.1', port: proxy });
  atOnce += 1;
  socket.on('error', () => {}).on('close', () => (atOnce -= 1));
  socket.write(Buffer.from([5, 1, 0]));
  socket.once('data', () => {
    socket.write(socks5Request('127.0.0.1', silent));
    setTimeout(() => socket.resetAndDestroy(), PATIENCE_MS);
  });
}

describe('a program that opens and resets 900 connections a second, 14,000 in all', () => {
  it('an idle stream lives on and other programs connect while one opens and resets 14,000 connections', {
    timeout: 180_000,
  }, async () => {
    const { client, relay } = await startStack();
    const [silent, target] = [await blackHole(), await tcpServer(echo)];
    const resting = await connectThrough('SOCKS5', client.port, target);
    const begun = performance.now();
    let connected = 0;
    for (let opened = 0; opened < CONNECTIONS; ) {
      const due = Math.min(CONNECTIONS, ((performance.now() - begun) * PER_SECOND) / 1000);
      for (; opened < due && atOnce < MOST_AT_ONCE; opened++) giveUp(client.port, silent);
      if (opened >= connected * 1000) {
        const other = await connectThrough('CONNECT', client.port, target);
        other.write('hello');
        expect(String(await take(other, 5))).toBe('hello');
        other.destroy();
        connected += 1;
      }
      await delay(5);
    }
    resting.write('still here');
    expect(String(await take(resting, 10))).toBe('still here');
    expect(relay.process.stderr + client.process.stderr).not.toContain('peer-flood');
  });
});
