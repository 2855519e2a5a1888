/** Programs that ask for http:// pages without CONNECT, each in its own way. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { startDnsServer } from '../support/net/dns-server.ts';
import { tcpServer } from '../support/net/tcp.ts';
import { type Nginx, startNginx } from '../support/programs/nginx.ts';
import { freePort, run, runWell, startServer } from '../support/programs/programs.ts';
import { startSvnServer } from '../support/programs/svn-server.ts';
import { invite, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Only the exit's name server knows it. */
const HOST = 'www.wstun-e2e.net';
const MIRRORED = 40;
const PASSWORD = 'hunter2';

let proxy = '';
let client: Awaited<ReturnType<typeof startClient>>;
let web: Nginx;

beforeAll(async () => {
  const dns = await startDnsServer({ [HOST]: { addresses: ['127.0.0.1'] } });
  atEnd(() => dns.close());
  const relay = await startRelay({ dns });
  client = await startClient(await invite(relay, 'plain', { allow: [HOST, '127.0.0.1'] }), {
    args: ['--verbose'],
  });
  proxy = `http://127.0.0.1:${client.port}`;
  const passwords = join(await tempDir(), 'passwords');
  await writeFile(passwords, `user:{PLAIN}${PASSWORD}\n`);
  web = await startNginx(`
    location /list/ { autoindex on; alias ${await listed()}/; }
    location /private/ { auth_basic private; auth_basic_user_file ${passwords}; alias ${await listed()}/; }`);
});

/** A directory of files that nginx may read. */
async function listed(): Promise<string> {
  const dir = await tempDir();
  await runWell('chmod', ['755', dir]);
  for (let i = 0; i < MIRRORED; i++) await writeFile(join(dir, `file-${i}`), `content ${i}`);
  return dir;
}

describe('svn', () => {
  it('svn checks out 400 files, which it asks for in advance', { timeout: 180_000 }, async () => {
    const { port, files } = await startSvnServer(400);
    const dir = await tempDir();
    const setting = (name: string, value: string | number) => [
      '--config-option',
      `servers:global:http-proxy-${name}=${value}`,
    ];
    const settings = [
      ...setting('host', '127.0.0.1'),
      ...setting('port', client.port),
      '--config-dir',
      join(dir, 'home'),
    ];
    const out = join(dir, 'out');
    const args = ['co', '-q', '--non-interactive', ...settings, `http://${HOST}:${port}/svn`, out];
    await runWell('svn', args, { limitMs: 40_000 });
    expect(new Set(await readdir(out))).toEqual(new Set([...files, '.svn']));
    expect(await readFile(join(out, 'file-399'), 'utf8')).toBe('file-399\n'.repeat(100));
  });
});

describe('lftp', () => {
  it('lftp mirrors a directory of 40 files', { timeout: 120_000 }, async () => {
    const out = join(await tempDir(), 'out');
    const settings = `set http:proxy ${proxy}; set net:max-retries 2; set net:timeout 10`;
    const args = ['--norc', '-c', `${settings}; mirror http://${HOST}:${web.port}/list/ ${out}`];
    await runWell('lftp', args, { limitMs: 30_000 });
    expect((await readdir(out)).length).toBe(MIRRORED);
    expect(await readFile(join(out, 'file-39'), 'utf8')).toBe('content 39');
  });
});

describe('a user and password in the URL', () => {
  const url = () => `http://user:${PASSWORD}@${HOST}:${web.port}/private/file-7`;
  const env = () => ({ http_proxy: proxy });

  it.each<[string, (out: string) => readonly [string, ...string[]]]>([
    ['wget', (out) => ['wget', '-q', '-t', '1', '-O', join(out, 'file'), url()]],
    ['aria2c', (out) => ['aria2c', '-q', '--no-conf', '-m', '1', '-d', out, '-o', 'file', url()]],
    ['lftp', (out) => ['lftp', '--norc', '-c', `set net:max-retries 1; get ${url()} -o ${join(out, 'file')}`]],
    ['curl', (out) => ['curl', '-q', '-sSf', '-o', join(out, 'file'), url()]],
  ])('the user and password in a URL of %s open the page, and are in no log', async (_, command) => {
    const out = await tempDir();
    const [program, ...args] = command(out);
    await runWell(program, args, { env: env() });
    expect(await readFile(join(out, 'file'), 'utf8')).toBe('content 7');
    expect(client.process.stderr + client.process.stdout).not.toContain(PASSWORD);
  });
});

describe('Chromium with an HTTP proxy', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({
      executablePath: '/usr/bin/chromium',
      args: ['--no-sandbox'],
      proxy: { server: proxy },
    });
    atEnd(() => browser.close());
  });

  it('Chromium gets the answer that its upload is too large each time, from a server that closes without reading it', {
    timeout: 300_000,
  }, async () => {
    const body = 'too large';
    const headers = `Content-Length: ${body.length}\r\nContent-Type: text/html\r\nConnection: close`;
    const port = await tcpServer((socket) => {
      // Its own page is asked for by GET.
      socket.once('data', (chunk) => {
        const status = chunk.toString('latin1').startsWith('GET') ? '200 OK' : '413 Content Too Large';
        socket.write(`HTTP/1.1 ${status}\r\n${headers}\r\n\r\n${body}`, () => socket.resetAndDestroy());
      });
    });
    const page = await browser.newPage();
    await page.goto(`http://${HOST}:${port}/`);
    const upload = `fetch('/', { method: 'POST', body: 'x'.repeat(100_000) }).then(({ status }) => status, String)`;
    const seen: unknown[] = [];
    for (let i = 0; i < 10; i++) seen.push(await page.evaluate(upload));
    expect(seen).toEqual(new Array(10).fill(413));
  });

  it.each([
    ['LFs', 'HTTP/1.1 200 OK\nContent-Length: 4\n\npage'],
    [
      'a length and chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npage\r\n0\r\n\r\n',
    ],
    ['a blank before a colon', 'HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 4\r\n\r\npage'],
    ['a fold', 'HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 4\r\n\r\npage'],
    ['a length twice', 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\npage'],
    ['blanks after a chunk size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4  \r\npage\r\n0\r\n\r\n'],
  ])('Chromium shows a page of a server that answers with %s', async (_, answer) => {
    const port = await tcpServer((socket) => socket.once('data', () => socket.end(answer)));
    const page = await browser.newPage();
    await page.goto(`http://${HOST}:${port}/`, { timeout: 15_000 });
    expect(await page.textContent('body')).toBe('page');
  });
});

describe('python3 -m http.server', () => {
  it('curl gets the answer of python3 -m http.server to a POST each time, though the server reads none of it', {
    timeout: 180_000,
  }, async () => {
    const port = await freePort();
    await startServer(
      'python3',
      ['-m', 'http.server', String(port), '--bind', '127.0.0.1', '-d', await tempDir()],
      port,
    );
    const args = ['-q', '-s', '-m', '10', '-x', proxy, '-H', 'Expect:', '-o', '/dev/null', '-w', '%{http_code}'];
    for (let i = 0; i < 20; i++) {
      const url = `http://${HOST}:${port}/`;
      const { code, stdout } = await run('curl', [...args, '--data-binary', '@-', url], { input: 'x'.repeat(100_000) });
      expect({ i, code, stdout }).toEqual({ i, code: 0, stdout: '501' });
    }
  });
});
