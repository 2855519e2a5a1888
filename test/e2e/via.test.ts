/**
 * Exits whose own connections go through an upstream proxy (`--via`): the rules come first, and the proxy gets the
 * address that was checked.
 * @module-tag waits
 */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { startDanted } from '../support/programs/danted.ts';
import { freePort, run } from '../support/programs/programs.ts';
import { startSquid } from '../support/programs/squid.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import {
  invite,
  type RunningClient,
  startBehindRelay,
  startClient,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';
import { until } from '../support/until.ts';

/** Speaks first, as SSH does, then sends back what it gets. */
async function startGreeter(): Promise<number> {
  const server = createServer((socket: Socket) => {
    socket.on('error', () => {});
    socket.write('hello\n');
    socket.pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEnd(() => server.close());
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** What comes back of `text` from a target, through the client. */
async function echoOf(text: string, { port }: RunningClient, target: string): Promise<string> {
  const [host = '', at = ''] = target.split(':');
  const proxy = ['--proxy', `127.0.0.1:${port}`, '--proxy-type', 'socks5', '--proxy-dns', 'remote'];
  return (await run('ncat', [...proxy, host, at], { input: text })).stdout;
}

describe('a relay with --via', () => {
  it('asks the proxy for the address that it has checked, and not for what its rules forbid', async () => {
    const squid = await startSquid();
    const relay = await startRelay({ args: ['--via', `http://127.0.0.1:${squid.port}`] });
    const greeter = await startGreeter();
    const client = await startClient(await invite(relay, 'ann', { allow: [`localhost:${greeter}`] }));
    expect(await echoOf('again\n', client, `localhost:${greeter}`)).toBe('hello\nagain\n');
    expect(await echoOf('again\n', client, `127.0.0.1:${greeter}`)).toBe('');
    await until(() => squid.accessLog().length > 0);
    const asked = squid.accessLog().filter((line) => line.includes('CONNECT'));
    expect(asked).toEqual([`200 CONNECT 127.0.0.1:${greeter} -`]);
  });

  it('passes on what the target sends first through SOCKS, too, and says when the proxy is gone', async () => {
    const danted = await startDanted('none');
    const greeter = await startGreeter();
    const relay = await startRelay({ args: ['--via', `socks5://127.0.0.1:${danted}`] });
    const client = await startClient(await invite(relay, 'ann', { allow: ['127.0.0.1'] }));
    expect(await echoOf('again\n', client, `127.0.0.1:${greeter}`)).toBe('hello\nagain\n');
    const gone = await startRelay({ args: ['--via', `socks5://ann:secret@127.0.0.1:${await freePort()}`] });
    const other = await startClient(await invite(gone, 'ann', { allow: ['127.0.0.1'] }));
    expect(await echoOf('again\n', other, `127.0.0.1:${greeter}`)).toBe('');
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
    expect(await echoOf('again\n', client, `127.0.0.1:${greeter}`)).toBe('hello\nagain\n');
    await until(() => squid.accessLog().some((line) => line === `200 CONNECT 127.0.0.1:${greeter} -`));
  });

  it('rejects a proxy with TLS of its own, and shows no password', async () => {
    const { code, stderr } = await wstun(['relay', '--via', 'https://ann:secret@proxy.test']);
    expect([code, stderr]).toEqual([2, expect.stringContaining('WSTUN-E136')]);
    expect(stderr).not.toContain('secret');
  });
});
