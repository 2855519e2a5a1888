/** What people do to the command line and its output, with real processes. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { exchange } from '../support/payload.ts';
import { spawnBound } from '../support/programs.ts';
import { atEnd } from '../support/scope.ts';
import { echo, tcpServer } from '../support/tcp.ts';
import { connectThrough } from '../support/through-proxy.ts';
import { WstunProcess, wstun, wstunPath } from '../support/wstun-process.ts';
import { invite, startRelay } from '../support/wstun-stack.ts';

/** Looks like one, and holds a secret as far as anybody can tell. */
const INVITE = `wstun1_${'AQDc'.repeat(30)}`;

describe('an invite', () => {
  it.each([
    ['behind a word that is no command', ['clinet', INVITE]],
    ['as an address', ['client', '--listen', INVITE]],
    ['as the name of a file', ['client', '--invite-file', INVITE]],
    ['as a second argument', ['client', INVITE, INVITE]],
    ['for a command that takes none', ['relay', INVITE]],
    ['behind an option of its own', ['client', '--tether', INVITE, INVITE]],
  ])('%s is not printed', async (_, args) => {
    const { code, stderr } = await wstun(args);
    expect(code).not.toBe(0);
    expect(stderr).not.toContain('AQDc');
    expect(stderr).not.toBe('');
  });

  it('alone starts a client', async () => {
    const relay = await startRelay();
    const client = new WstunProcess([await invite(relay, 'short'), '--listen', '127.0.0.1:0', '--json']);
    await client.event('ready');
  });
});

/** A client whose output a test can stop reading. */
async function startReadClient(secret: string): Promise<{ child: ChildProcess; port: number }> {
  const child = spawnBound(process.execPath, [wstunPath, 'client', '--listen', '127.0.0.1:0', '--json'], {
    env: { WSTUN_INVITE: secret },
  });
  atEnd(() => void child.kill('SIGKILL'));
  if (child.stdout === null) throw new Error('no stdout');
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const { listen } = JSON.parse(line) as { listen: string };
  return { child, port: Number(listen.replace(/^.*:/, '')) };
}

describe('a client whose reader has gone', () => {
  it('goes on, through the loss of its relay too', { timeout: 60_000 }, async () => {
    const relay = await startRelay();
    const { child, port } = await startReadClient(await invite(relay, 'unread', { allow: ['*'] }));
    child.stdout?.destroy();
    child.stderr?.destroy();
    const target = await tcpServer(echo);
    await relay.process.kill();
    await startRelay({ state: relay.state, port: relay.port });
    // The next program waits for the relay; by then the client has had much to tell.
    const socket = await connectThrough('SOCKS5', port, target);
    const { sent, received } = await exchange(socket, 100_000);
    expect(received.hash).toBe(sent);
    expect([child.exitCode, child.signalCode]).toEqual([null, null]);
  });
});
