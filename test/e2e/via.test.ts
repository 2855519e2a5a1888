/**
 * Exits whose own connections go through an upstream proxy (`--via`): the rules come first, and the proxy gets the
 * address that was checked.
 * @module-tag waits
 */
import { describe, expect, it } from 'vitest';
import { closedPort, echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { startDanted } from '../support/programs/danted.ts';
import { startSquid } from '../support/programs/squid.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import {
  invite,
  type RunningClient,
  startBehindRelay,
  startClient,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { connectThrough, takeUntil } from '../support/proxy/through-proxy.ts';
import { until } from '../support/until.ts';

/** Speaks first, as SSH does, then sends back what it gets. */
function startGreeter(): Promise<number> {
  return tcpServer((socket) => {
    socket.write('hello\n');
    echo(socket);
  });
}

/**
 * What the greeter says, and then its echo. The connection ends afterwards: where one side ends first, squid itself drops
 * what the other still sends.
 */
async function greetingOf({ port }: RunningClient, target: number, host = '127.0.0.1'): Promise<string> {
  const socket = await connectThrough('SOCKS5', port, target, host);
  socket.write('again\n');
  const text = await takeUntil(socket, 'again\n');
  socket.destroy();
  return text;
}

describe('a relay with --via', () => {
  it('asks the proxy for the address that it has checked, and not for what its rules forbid', async () => {
    const squid = await startSquid();
    const relay = await startRelay({ args: ['--via', `http://127.0.0.1:${squid.port}`] });
    const greeter = await startGreeter();
    const client = await startClient(await invite(relay, 'ann', { allow: [`localhost:${greeter}`] }));
    expect(await greetingOf(client, greeter, 'localhost')).toBe('hello\nagain\n');
    await expect(greetingOf(client, greeter)).rejects.toThrow('SOCKS5 reply 2');
    await until(() => squid.accessLog().length > 0);
    const asked = squid.accessLog().filter((line) => line.includes('CONNECT'));
    expect(asked).toEqual([`200 CONNECT 127.0.0.1:${greeter} -`]);
  });

  it('passes on what the target sends first through SOCKS, too, and says when the proxy is gone', async () => {
    const danted = await startDanted('none');
    const greeter = await startGreeter();
    const relay = await startRelay({ args: ['--via', `socks5://127.0.0.1:${danted}`] });
    const client = await startClient(await invite(relay, 'ann', { allow: ['127.0.0.1'] }));
    expect(await greetingOf(client, greeter)).toBe('hello\nagain\n');
    const socket = await connectThrough('SOCKS5', client.port, await tcpServer(echo));
    const { sent, received } = await exchange(socket, 3_000_000, 1);
    expect(received).toEqual({ bytes: 3_000_000, hash: sent });
    const gone = await startRelay({ args: ['--via', `socks5://ann:secret@127.0.0.1:${await closedPort()}`] });
    const other = await startClient(await invite(gone, 'ann', { allow: ['127.0.0.1'] }));
    await expect(greetingOf(other, greeter)).rejects.toThrow('SOCKS5 reply 1');
    await until(() => gone.process.stderr.includes('the proxy of --via opens no connections'));
    expect(gone.process.stderr).not.toContain('secret');
  });
});

describe('an exit with --via', () => {
  it('dials by its proxy, and the relay by none', async () => {
    const squid = await startSquid();
    const greeter = await startGreeter();
    const { exit } = await startBehindRelay(['--via', `http://127.0.0.1:${squid.port}`]);
    const client = await startClient(await invite(exit, 'ann', { allow: ['127.0.0.1'] }));
    expect(await greetingOf(client, greeter)).toBe('hello\nagain\n');
    await until(() => squid.accessLog().some((line) => line === `200 CONNECT 127.0.0.1:${greeter} -`));
  });

  it('rejects a proxy with TLS of its own, and shows no password', async () => {
    const { code, stderr } = await wstun(['relay', '--via', 'https://ann:secret@proxy.test']);
    expect([code, stderr]).toEqual([2, expect.stringContaining('WSTUN-E136')]);
    expect(stderr).not.toContain('secret');
  });
});
