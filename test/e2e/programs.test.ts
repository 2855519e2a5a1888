/** Real programs through the tunnel, to real servers. */
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { startDnsServer } from '../support/net/dns-server.ts';
import { tcpServer } from '../support/net/tcp.ts';
import { payload, sha256 } from '../support/payload.ts';
import { type GitServer, startGitServer } from '../support/programs/git-server.ts';
import { type Nginx, startNginx } from '../support/programs/nginx.ts';
import { run, runWell } from '../support/programs/programs.ts';
import { type Sshd, startSshd } from '../support/programs/sshd.ts';
import { invite, type RunningRelay, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Only the exit's name server knows it, and rules for names open it: a program that resolves it here fails. */
const HOST = 'www.wstun-e2e.net';
const MIB = 1024 * 1024;

let relay: RunningRelay;
let proxy = '';
let dir = '';

beforeAll(async () => {
  const dns = await startDnsServer({ [HOST]: { addresses: ['127.0.0.1'] } });
  atEnd(() => dns.close());
  relay = await startRelay({ dns });
  const client = await startClient(await invite(relay, 'programs', { allow: [HOST, '127.0.0.1'] }));
  proxy = `127.0.0.1:${client.port}`;
  dir = await tempDir();
});

async function httpServer(handle: RequestListener): Promise<number> {
  const server = createServer(handle).listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEnd(() => [server.close(), server.closeAllConnections()]);
  return (server.address() as AddressInfo).port;
}

describe('curl', () => {
  const file = payload(3 * MIB, 3);
  let web: Nginx;
  beforeAll(async () => {
    web = await startNginx();
    await writeFile(join(web.root, 'file'), file);
  });

  const curl = (args: readonly string[], url: string) =>
    runWell('curl', ['-sS', '--fail', '--max-time', '10', ...args, url]);

  it.each([
    ['socks5, an address', (at: string) => ['-x', `socks5://${at}`], '127.0.0.1'],
    ['socks5h, a name', (at: string) => ['-x', `socks5h://${at}`], HOST],
    ['socks4, an address', (at: string) => ['-x', `socks4://${at}`], '127.0.0.1'],
    ['socks4a, a name', (at: string) => ['-x', `socks4a://${at}`], HOST],
    ['http, a name', (at: string) => ['-x', `http://${at}`], HOST],
    ['CONNECT, a name', (at: string) => ['--proxytunnel', '-x', `http://${at}`], HOST],
  ] as const)('curl fetches a file by %s', async (_what, through, host) => {
    const got = await curl(through(proxy), `http://${host}:${web.port}/file`);
    expect(sha256(Buffer.from(got, 'latin1'))).toBe(sha256(file));
  });

  it.each(['socks5h', 'http'])('curl uploads a file and gets it back by %s', async (scheme) => {
    const port = await httpServer((request, response) => request.pipe(response));
    const args = ['-x', `${scheme}://${proxy}`, '--data-binary', '@-', `http://${HOST}:${port}/`];
    const got = await runWell('curl', ['-sS', '--fail', '--max-time', '10', ...args], { input: file });
    expect(sha256(Buffer.from(got, 'latin1'))).toBe(sha256(file));
  });

  it('curl uses one connection to the proxy for several pages', async () => {
    const urls = Array.from({ length: 5 }, () => `http://${HOST}:${web.port}/file`);
    const args = [
      '-sS',
      '-x',
      `http://${proxy}`,
      '-w',
      '%{num_connects}\n',
      ...urls.flatMap((url) => ['-o', '/dev/null', url]),
    ];
    expect((await runWell('curl', args)).trim().split('\n')).toEqual(['1', '0', '0', '0', '0']);
  });

  it.each(['socks5h', 'http'])('curl must give the user and password of the client’s proxy by %s', async (scheme) => {
    const secret = await invite(relay, `with-password-${scheme}`, { allow: [HOST] });
    const client = await startClient(secret, { args: ['--user', 'me:pass:word'] });
    const through = ['-o', '/dev/null', '-x', `${scheme}://127.0.0.1:${client.port}`];
    const url = `http://${HOST}:${web.port}/file`;
    await curl([...through, '--proxy-user', 'me:pass:word'], url);
    for (const wrong of [[], ['--proxy-user', 'me:wrong']]) {
      expect((await run('curl', ['-sS', '--fail', '--max-time', '10', ...through, ...wrong, url])).code).not.toBe(0);
    }
  });
});

describe('git', () => {
  let server: GitServer;
  beforeAll(async () => {
    server = await startGitServer();
  });

  it.each([
    ['http.proxy', (at: string) => ({ args: ['-c', `http.proxy=socks5h://${at}`], env: {} })],
    ['ALL_PROXY', (at: string) => ({ args: [], env: { ALL_PROXY: `socks5h://${at}` } })],
    ['http_proxy', (at: string) => ({ args: [], env: { http_proxy: `http://${at}` } })],
  ] as const)('git clones over HTTP with %s', async (name, settings) => {
    const { args, env } = settings(proxy);
    const clone = join(dir, `clone-${name}`);
    await runWell('git', [...args, 'clone', '-q', `http://${HOST}:${server.port}/repo.git`, clone], { env });
    expect((await runWell('git', ['-C', clone, 'rev-parse', 'HEAD'])).trim()).toBe(server.head);
    await runWell('git', ['-C', clone, 'fsck', '--strict']);
    expect(sha256(await readFile(join(clone, 'blob')))).toBe(sha256(server.blob));
  });
});

describe.each([
  ['nc', (at: string) => `nc.openbsd -X 5 -x ${at} %h %p`],
  ['nc by CONNECT', (at: string) => `nc.openbsd -X connect -x ${at} %h %p`],
  ['ncat', (at: string) => `ncat --proxy ${at} --proxy-type socks5 %h %p`],
] as const)('ssh with ProxyCommand %s', (_name, command) => {
  const file = payload(5 * MIB, 4);
  let sshd: Sshd;
  let options: readonly string[];
  beforeAll(async () => {
    sshd = await startSshd();
    options = [...sshd.options, '-o', `ProxyCommand=${command(proxy)}`];
  });

  it('ssh through a ProxyCommand runs a command, with its input, output and exit code', async () => {
    const args = [...options, '-p', String(sshd.port), `${sshd.user}@127.0.0.1`, 'sha256sum; exit 7'];
    const { code, stdout } = await run('ssh', args, { input: file });
    expect({ code, stdout }).toEqual({ code: 7, stdout: `${sha256(file)}  -\n` });
  });

  it('scp and sftp through a ProxyCommand copy a file there and back', async () => {
    const at = await tempDir();
    await mkdir(join(at, 'far'));
    const [near, far, back] = ['near', 'far/file', 'back'].map((part) => join(at, part)) as [string, string, string];
    await writeFile(near, file);
    const to = ['-q', ...options, '-P', String(sshd.port)];
    await runWell('scp', [...to, near, `${sshd.user}@127.0.0.1:${far}`]);
    await runWell('sftp', [...to, '-b', '-', `${sshd.user}@127.0.0.1`], { input: `get ${far} ${back}\n` });
    expect(sha256(await readFile(back))).toBe(sha256(file));
    // The older of scp's two protocols.
    await runWell('scp', ['-O', ...to, `${sshd.user}@127.0.0.1:${far}`, `${back}-2`]);
    expect(sha256(await readFile(`${back}-2`))).toBe(sha256(file));
  });
});

describe('netcat', () => {
  const file = payload(2 * MIB, 6);

  it.each([
    ['nc', 'nc.openbsd', (at: string) => ['-N', '-X', '5', '-x', at]],
    ['nc by CONNECT', 'nc.openbsd', (at: string) => ['-N', '-X', 'connect', '-x', at]],
    ['ncat', 'ncat', (at: string) => ['--proxy', at, '--proxy-type', 'socks5']],
    ['ncat by CONNECT', 'ncat', (at: string) => ['--proxy', at, '--proxy-type', 'http']],
  ] as const)(
    '%s shuts its writing side through the tunnel, and gets the whole answer',
    async (_name, program, through) => {
      const target = await tcpServer((socket) => {
        const request: Buffer[] = [];
        socket.on('data', (chunk) => request.push(chunk));
        socket.on('end', () => socket.end(`${sha256(Buffer.concat(request))}\n${'.'.repeat(MIB)}`));
      });
      const got = await run(program, [...through(proxy), '127.0.0.1', String(target)], { input: file });
      expect(got.code).toBe(0);
      expect(got.stdout).toBe(`${sha256(file)}\n${'.'.repeat(MIB)}`);
    },
  );
});
