/** `wstun status`, `wstun ping` and the control socket of real processes: two clients, a relay and a named exit. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { chmod, mkdir, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { newControlPath } from '../../src/control/places.ts';
import { startControlServer } from '../../src/control/server.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import { wstunPath } from '../support/programs/wstun-program.ts';
import { invite, startClient, startExit, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough, take } from '../support/proxy/through-proxy.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

type Json = Record<string, never>;

const KIB = 1024;

async function jsonLines(args: readonly string[], env = {}): Promise<Json[]> {
  const { code, stdout, stderr } = await wstun(args, { env });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Json);
}

function socketsIn(state: string): string[] {
  const control = join(state, 'control');
  return existsSync(control) ? readdirSync(control) : [];
}

it('wstun status shows two clients, a relay and an exit with real traffic, and wstun ping measures through one', {
  timeout: 180_000,
}, async () => {
  const env = { XDG_STATE_HOME: await tempDir() };
  const target = await tcpServer(echo);
  const relay = await startRelay();
  const exit = await startExit({ invite: await invite(relay, 'home', { role: 'exit' }) });
  const own = await startClient(await invite(relay, 'alice', { allow: ['127.0.0.1'] }), { env });
  const behind = await startClient(await invite(exit, 'bob', { allow: ['127.0.0.1'] }), { env });
  const clients = join(env.XDG_STATE_HOME, 'wstun/client');
  await until(() => socketsIn(clients).length === 2);
  await exchange(await connectThrough('SOCKS5', own.port, target), 256 * KIB, 1);
  const open = await connectThrough('SOCKS5', behind.port, target);
  open.write('hello');
  await take(open, 5);

  const found = await jsonLines(['status', '--json'], env);
  expect(new Set(found.map(({ listen }) => listen))).toEqual(
    new Set([own.port, behind.port].map((port) => `127.0.0.1:${port}`)),
  );
  expect(found.find(({ pid }) => pid === own.process.pid)).toMatchObject({
    ...{ role: 'client', state: 'connected', relay: `127.0.0.1:${relay.port}`, exit: 'relay', links: 1 },
    route: { carrier: 'websocket' },
    traffic: { sent: 256 * KIB, received: 256 * KIB },
    roundTripMs: { now: expect.any(Number), min: expect.any(Number) },
  });
  expect(found.find(({ pid }) => pid === behind.process.pid)).toMatchObject({
    ...{ exit: 'named', streamCount: 1, resumes: 0, streamsLost: 0 },
    streams: [{ target: `127.0.0.1:${target}`, sent: 5, received: 5 }],
  });
  expect(await jsonLines(['status', '--json', '--state', relay.state])).toMatchObject([
    { role: 'relay', exits: [{ name: 'home' }], peerCount: 2 },
  ]);
  expect(await jsonLines(['status', '--json', '--state', exit.state])).toMatchObject([
    { role: 'exit', relay: { registeredAt: expect.any(Number) }, peers: [{ name: 'bob', streams: 1 }] },
  ]);
  const { stdout } = await wstun(['status'], { env });
  const text = Buffer.from(stdout, 'latin1').toString('utf8');
  expect(text).toContain(`wstun client at 127.0.0.1:${behind.port}`);
  expect(text).toContain(`127.0.0.1:${target}`);
  expect(Math.max(...text.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(80);

  expect(await wstun(['ping'], { env })).toMatchObject({ code: 2, stderr: expect.stringContaining('--listen') });
  const listen = ['--listen', `127.0.0.1:${behind.port}`];
  const answers = await jsonLines(['ping', '-c', '2', '--json', ...listen], env);
  expect(answers).toMatchObject([
    { number: 1, ms: expect.any(Number) },
    { number: 2, ms: expect.any(Number) },
  ]);
  const opened = await wstun(['ping', '-c', '1', ...listen, `127.0.0.1:${target}`], { env });
  expect(opened).toMatchObject({ code: 0, stdout: expect.stringContaining('1 of 1 answered; min') });
  const refused = await wstun(['ping', '-c', '1', ...listen, '127.0.0.2:9'], { env });
  expect(refused).toMatchObject({ code: 69, stdout: expect.stringMatching(/^1: .*\(WSTUN-E3\d\d\)$/m) });
});

it('only its user reaches a control socket, a dead one is removed, and one that cannot be made stops no client', {
  timeout: 180_000,
}, async () => {
  const env = { XDG_STATE_HOME: await tempDir() };
  expect(await wstun(['status'], { env })).toMatchObject({ code: 69, stderr: expect.stringContaining('WSTUN-E170') });
  const relay = await startRelay();
  const secret = await invite(relay, 'alice');
  const clients = join(env.XDG_STATE_HOME, 'wstun/client');
  const control = join(clients, 'control');
  const killed = await startClient(secret, { env });
  await until(() => socketsIn(clients).length === 1);
  const [name = ''] = socketsIn(clients);
  expect((await stat(control)).mode & 0o777).toBe(0o700);
  expect((await stat(join(control, name))).mode & 0o777).toBe(0o600);
  await killed.process.kill();
  expect(socketsIn(clients)).toEqual([name]);
  expect(await wstun(['status'], { env })).toMatchObject({ code: 69 });
  await until(() => socketsIn(clients).length === 0);

  // Others may have put anything there.
  await chmod(control, 0o770);
  expect(await wstun(['status'], { env })).toMatchObject({ code: 78, stderr: expect.stringContaining('chmod 700') });
  const unseen = await startClient(secret, { env });
  await until(() => unseen.process.stderr.includes('its control socket cannot be opened'));
  await chmod(control, 0o700);
  const seen = await startClient(secret, { env });
  await until(() => socketsIn(clients).length === 1);
  expect((await jsonLines(['status', '--json'], env)).map(({ pid }) => pid)).toEqual([seen.process.pid]);
  seen.process.signal('SIGTERM');
  expect(await seen.process.exited).toBe(0);
  expect(socketsIn(clients)).toEqual([]);
});

it('a state directory whose path is too long for a socket has its sockets elsewhere, and they are found', async () => {
  const state = join(await tempDir(), 'a'.repeat(100));
  const runtime = await tempDir();
  await mkdir(state, { mode: 0o700 });
  const env = { XDG_RUNTIME_DIR: runtime };
  const relay = await startRelay({ state, env });
  await until(() => readdirSync(runtime).length === 1);
  expect(await jsonLines(['status', '--json', '--state', state], env)).toMatchObject([{ pid: relay.process.pid }]);
  const [dir = ''] = readdirSync(runtime);
  expect((await stat(join(runtime, dir))).mode & 0o777).toBe(0o700);
});

it('a control socket bounds what it is sent, and answers what it does not know with an error', async () => {
  const path = join(await tempDir(), 'c.sock');
  const server = await startControlServer({ path, answers: { status: () => ({ role: 'client' }) } });
  const ask = (text: string) =>
    new Promise<string>((resolve) => {
      let answer = '';
      const socket = connect(path);
      socket.on('data', (chunk) => {
        answer += String(chunk);
        if (answer.endsWith('\n')) socket.destroy();
      });
      socket.on('error', () => {});
      socket.once('close', () => resolve(answer));
      socket.write(text);
    });
  expect(JSON.parse(await ask('{"wstun":1,"request":"status"}\n'))).toEqual({
    wstun: 1,
    reply: 'ok',
    data: { role: 'client' },
  });
  const bad = [
    'GET / HTTP/1.1\n',
    '{"wstun":2,"request":"status"}\n',
    '{"wstun":1,"request":"constructor"}\n',
    '{"wstun":1}\n',
    `${'x'.repeat(5_000)}`,
    '[]\n'.repeat(40),
  ];
  for (const text of bad)
    expect(JSON.parse((await ask(text)).split('\n')[0] ?? '')).toMatchObject({ code: 'WSTUN-E172' });
  await server.close();
  expect(await ask('{"wstun":1,"request":"status"}\n')).toBe('');
  expect(existsSync(path)).toBe(false);
});

it('wstun status --watch whose output nobody reads any more ends', async () => {
  const state = join(await tempDir(), 'client');
  const path = await newControlPath(state, 'client');
  const server = await startControlServer({ path, answers: { status: () => ({ role: 'client', streams: [] }) } });
  atEnd(() => server.close());
  const args = [wstunPath, 'status', '--watch', '--json', '--state', state];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  atEnd(() => child.kill('SIGKILL'));
  const ended = once(child, 'exit');
  await once(child.stdout, 'data');
  child.stdout.destroy();
  expect(await ended).toEqual([0, null]);
});
