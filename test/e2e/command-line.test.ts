/** What people do to the command line and its output, with real processes. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { beforeAll, describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { spawnBound } from '../support/programs/programs.ts';
import { refuseSecrets, WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import { wstunPath } from '../support/programs/wstun-program.ts';
import { invite, startBehindRelay, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Looks like an invite that holds a secret. */
const INVITE = `wstun1_${'AQDc'.repeat(30)}`;

describe('an invite', () => {
  it.each([
    ['after a word that is not a command', ['clinet', INVITE]],
    ['as an address', ['client', '--listen', INVITE]],
    ['as the name of a file', ['client', '--invite-file', INVITE]],
    ['as a second argument', ['client', INVITE, INVITE]],
    ['for a command that takes none', ['relay', INVITE]],
    ['after an option of its own', ['client', '--tether', INVITE, INVITE]],
  ])('wstun never prints an invite that is given %s', async (_, args) => {
    const { code, stderr } = await wstun(args);
    expect(code).not.toBe(0);
    expect(stderr).not.toContain('AQDc');
    expect(stderr).not.toBe('');
  });

  it('an invite as the only argument starts a client', async () => {
    const relay = await startRelay();
    const client = new WstunProcess([await invite(relay, 'short'), '--listen', '127.0.0.1:0', '--json']);
    await client.event('ready');
  });
});

describe('a pasted invite', () => {
  let secret = '';
  beforeAll(async () => {
    secret = await invite(await startRelay(), 'pasted');
  });
  const start = (args: readonly string[], env = {}) =>
    new WstunProcess([...args, '--listen', '127.0.0.1:0', '--json'], { env }).event('ready');

  it.each([
    ['in two pieces, as a mail breaks it', (it: string) => ['client', it.slice(0, 76), it.slice(76)]],
    ['as the whole printed line, after the command', (it: string) => ['client', 'wstun', 'client', it]],
    ['as the whole printed line, after the program', (it: string) => ['wstun', 'client', it]],
    ['as the whole printed line, in quotes', (it: string) => ['client', `  wstun client ${it}\n`]],
    ['with invisible characters', (it: string) => ['client', `\u200b${it.slice(0, 90)}\u00ad${it.slice(90)}`]],
  ])('a client understands an invite that is pasted %s', async (_what, argsOf) => {
    await start(argsOf(secret));
  });

  it.each([
    ['the whole printed line', (it: string) => `\n  wstun client ${it}\n\n`],
    ['a quoted mail', (it: string) => `> Hello,\n> wstun client ${it.slice(0, 60)}\n> ${it.slice(60)}\n> Ann`],
    ['a file of Windows, in UTF-16', (it: string) => Buffer.from(`\ufeff${it}\r\n`, 'utf16le')],
  ])('a client understands an invite in a file that holds %s', async (_what, contentOf) => {
    const file = join(await tempDir(), 'invite');
    await writeFile(file, contentOf(secret));
    await start(['client', '--invite-file', file]);
  });

  it('a client understands a pasted invite in the environment, and an exit one on standard input', async () => {
    await start(['client'], { WSTUN_INVITE: `wstun client ${secret.slice(0, 50)}\n${secret.slice(50)}` });
    const asked = await wstun(['exit', '--invite-file', '-', '--state', join(await tempDir(), 'x')], {
      input: `wstun client ${secret}\n`,
    });
    expect(asked).toMatchObject({ code: 2, stderr: expect.stringContaining('WSTUN-E127') });
  });

  it('a client rejects two pasted invites, or parts that do not fit, and prints nothing of them', async () => {
    const other = await invite(await startRelay(), 'other');
    for (const args of [
      ['client', secret, other],
      ['client', `${secret} ${other}`],
      ['client', secret.slice(0, 100), secret.slice(100).replace(/.$/, '')],
      // No option: one invite in 64 would have asked for help.
      ['client', secret.slice(0, 100), `-0${secret.slice(101)}`],
      ['client', secret.slice(0, 100), `-vl${secret.slice(101)}`],
      ['client', `${secret.slice(0, 100)}!${secret.slice(101)}`],
      ['client', secret.slice(7)],
      [secret.slice(7)],
    ]) {
      const { code, stderr } = await wstun(args);
      expect(code).toBe(2);
      for (let at = 7; at + 12 <= secret.length; at += 6) expect(stderr).not.toContain(secret.slice(at, at + 12));
      refuseSecrets(stderr);
    }
    expect((await wstun(['client', secret, other])).stderr).toContain('WSTUN-E125');
  });

  it('a client says in words that a file with an invite is missing or far too long', async () => {
    const missing = await wstun(['client', '--invite-file', '/does/not/exist']);
    expect(missing).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('/does/not/exist: it does not exist'),
    });
    expect(missing.stderr).not.toContain('ENOENT');
    const endless = await wstun(['client', '--invite-file', '/dev/zero']);
    expect(endless).toMatchObject({ code: 2, stderr: expect.stringContaining('WSTUN-E105') });
  });
});

describe('an invite for another command', () => {
  it('client and exit reject the invite of the other role before they dial, wherever it comes from', async () => {
    const { exit, registration } = await startBehindRelay();
    const hers = await invite(exit, 'alice');
    const file = join(await tempDir(), 'invite');
    for (const [command, secret, code, other] of [
      ['client', registration, 'WSTUN-E126', 'wstun exit'],
      ['exit', hers, 'WSTUN-E127', 'wstun client'],
    ] as const) {
      await writeFile(file, secret);
      const where = command === 'exit' ? ['--state', join(await tempDir(), 'new')] : [];
      for (const outcome of [
        await wstun([command, secret, ...where]),
        await wstun([command, '--invite-file', file, ...where]),
        await wstun([command, ...where], { env: { WSTUN_INVITE: secret } }),
      ]) {
        expect(outcome).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(code) });
        expect(outcome.stderr).toContain(other);
      }
    }
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

describe('a client whose output nobody reads', () => {
  it('a client whose output nobody reads goes on, also after it lost its relay', { timeout: 180_000 }, async () => {
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
