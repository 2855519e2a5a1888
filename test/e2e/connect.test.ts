/**
 * `wstun connect`: real programs whose ProxyCommand it is, and its two directions by themselves.
 * @module-tag waits
 */
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { closedPort, tcpServer } from '../support/net/tcp.ts';
import { payload } from '../support/payload.ts';
import { run, runWell, spawnBound } from '../support/programs/programs.ts';
import { type Sshd, startSshd } from '../support/programs/sshd.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import { commonEnv, wstunPath } from '../support/programs/wstun-program.ts';
import { invite, type RunningRelay, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { tempDir } from '../support/temp-dir.ts';

const MIB = 1024 * 1024;

let relay: RunningRelay;
let secret = '';
let at: string[] = [];

beforeAll(async () => {
  relay = await startRelay();
  secret = await invite(relay, 'tester', { allow: ['*'] });
  const client = await startClient(secret);
  at = ['--listen', `127.0.0.1:${client.port}`];
});

const connectTo = (port: number, more = at) => [wstunPath, 'connect', ...more, '127.0.0.1', String(port)];

function spawnConnect(port: number) {
  return spawnBound(process.execPath, connectTo(port), { env: commonEnv });
}

describe('ssh and what is built on it, by wstun connect', () => {
  let sshd: Sshd;
  let options: string[] = [];
  let ssh = '';

  beforeAll(async () => {
    sshd = await startSshd();
    const proxy = `ProxyCommand=${[process.execPath, ...connectTo(sshd.port)].join(' ')}`;
    options = [...sshd.options, '-o', proxy.replace(/ 127\.0\.0\.1 \d+$/, ' %h %p'), '-o', `Port=${sshd.port}`];
    ssh = ['ssh', ...options.map((option) => `'${option}'`)].join(' ');
  });

  it('ssh runs a command, with its input, its output and its exit code', async () => {
    const input = payload(3 * MIB, 1)
      .toString('latin1')
      .replaceAll(/[^\n -~]/g, 'x');
    const { code, stdout } = await run('ssh', [...options, `${sshd.user}@127.0.0.1`, 'cat; exit 3'], { input });
    expect({ code, isSame: stdout === input }).toEqual({ code: 3, isSame: true });
  });

  it('scp, rsync and git copy what they are given', async () => {
    const dir = await tempDir();
    const [near, far] = [join(dir, 'near'), join(dir, 'far')];
    const bytes = payload(4 * MIB, 2);
    await mkdir(near);
    await writeFile(join(near, 'file'), bytes);
    await runWell('scp', [...options, join(near, 'file'), `${sshd.user}@127.0.0.1:${far}`]);
    expect((await readFile(far)).equals(bytes)).toBe(true);
    await runWell('rsync', ['-a', '-e', ssh, `${near}/`, `${sshd.user}@127.0.0.1:${join(dir, 'synced')}/`]);
    expect((await readFile(join(dir, 'synced/file'))).equals(bytes)).toBe(true);
    const git = ['-c', 'user.name=t', '-c', 'user.email=t@t', '-C', near];
    await runWell('git', [...git, 'init', '-q', '-b', 'main']);
    await runWell('git', [...git, 'add', '.']);
    await runWell('git', [...git, 'commit', '-q', '-m', 'one']);
    const clone = join(dir, 'clone');
    const env = { GIT_SSH_COMMAND: ssh };
    await runWell('git', ['clone', '-q', `ssh://${sshd.user}@127.0.0.1:${sshd.port}${near}`, clone], { env });
    expect((await readFile(join(clone, 'file'))).equals(bytes)).toBe(true);
  });
});

describe('wstun connect', () => {
  it('half-closes pass: the target answers after the end of the input', async () => {
    const answer = payload(MIB, 3);
    const port = await tcpServer((socket) => {
      let received = 0;
      socket.on('data', ({ length }: Buffer) => (received += length));
      socket.on('end', () => socket.end(Buffer.concat([Buffer.from(`${received} `), answer])));
    });
    const child = spawnConnect(port);
    child.stdin?.end(Buffer.alloc(MIB));
    const out = Buffer.concat(await (child.stdout ?? expect.fail()).toArray());
    expect(out.equals(Buffer.concat([Buffer.from(`${MIB} `), answer]))).toBe(true);
    expect(child.exitCode ?? (await once(child, 'exit'))[0]).toBe(0);
  });

  it('half-closes pass: the input goes on after the end of the target’s bytes', async () => {
    const received: Buffer[] = [];
    const port = await tcpServer((socket) => {
      socket.end('bye').on('data', (bytes: Buffer) => received.push(bytes));
    });
    const child = spawnConnect(port);
    // The end of stdout is seen while stdin is open.
    expect(Buffer.concat(await (child.stdout ?? expect.fail()).toArray()).toString()).toBe('bye');
    child.stdin?.end('still here');
    expect((await once(child, 'exit'))[0]).toBe(0);
    expect(Buffer.concat(received).toString()).toBe('still here');
  });

  it('a reset of the target is told on stderr, with its code', async () => {
    const port = await tcpServer((socket) => void socket.once('data', () => socket.resetAndDestroy()));
    const { code, stdout, stderr } = await run(process.execPath, connectTo(port), { env: commonEnv, input: 'hello' });
    expect({ code, stdout }).toEqual({ code: 69, stdout: '' });
    expect(stderr).toMatch(/^wstun: .*reset.*\(WSTUN-E311\)\n$/);
  });

  it.each([
    ['a refused connection', /refused.*\(WSTUN-E301\)\n$/],
    ['an address without a client', /\(WSTUN-E181\)\n$/],
  ])('%s is one sentence on stderr, and nothing is on stdout', async (what, sentence) => {
    const port = await closedPort();
    const more = what.startsWith('a refused') ? at : ['--listen', `127.0.0.1:${port}`];
    const { code, stdout, stderr } = await wstun(['connect', ...more, '127.0.0.1', String(port)]);
    expect({ code, stdout }).toEqual({ code: 69, stdout: '' });
    expect(stderr).toMatch(sentence);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  it('wstun connect uses a proxy that asks for a password', async () => {
    const locked = await startClient(secret, { env: { WSTUN_USER: 'ann:secret' } });
    const port = await tcpServer((socket) => void socket.pipe(socket));
    const args = ['connect', '--listen', `127.0.0.1:${locked.port}`, '127.0.0.1', String(port)];
    const env = { WSTUN_USER: 'ann:secret' };
    expect(await wstun(args, { input: 'hello', env })).toMatchObject({ code: 0, stdout: 'hello', stderr: '' });
    expect(await wstun(args, { input: 'hello' })).toMatchObject({ stdout: '' });
  });

  it('wstun connect starts a client of its own where none runs, and ends it', async () => {
    const file = join(await tempDir(), 'invite');
    await writeFile(file, secret, { mode: 0o600 });
    const port = await tcpServer((socket) => void socket.pipe(socket));
    const args = ['connect', '--invite-file', file, '127.0.0.1', String(port)];
    expect(await wstun(args, { input: 'hello' })).toMatchObject({ code: 0, stdout: 'hello', stderr: '' });
  });

  it.each([
    ['no port', ['host', '']],
    ['port 0', ['host', '0']],
    ['port 65536', ['host', '65536']],
    ['a URL', ['http://host/', '80']],
    ['a space', ['ho st', '80']],
  ])('wstun connect rejects a target with %s', async (_, target) => {
    const { code, stdout, stderr } = await wstun(['connect', ...at, ...target]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('wstun connect host.example 22');
  });
});
