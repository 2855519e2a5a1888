/** The lines that a client prints when it is ready, run as they are printed by the programs that they are for. */
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { startDnsServer } from '../support/net/dns-server.ts';
import { makeCertificate } from '../support/programs/certificate.ts';
import { type GitServer, startGitServer } from '../support/programs/git-server.ts';
import { run, runWell } from '../support/programs/programs.ts';
import { WstunProcess } from '../support/programs/wstun-process.ts';
import { invite, startRelay } from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

/** In the printed lines; only the exit's name server knows it here. */
const HOST = 'example.org';
const PASSWORD = 's3cret';

let secret = '';
let web = 0;
let git: GitServer;
let dir = '';
const asked: string[] = [];

beforeAll(async () => {
  dir = await tempDir();
  const dns = await startDnsServer({ [HOST]: { addresses: ['127.0.0.1'] } });
  atEnd(() => dns.close());
  const relay = await startRelay({ dns });
  secret = await invite(relay, 'reader', { allow: [HOST] });
  const pair = makeCertificate(`DNS:${HOST}`);
  await writeFile(join(dir, 'ca.pem'), pair.cert);
  const handle: RequestListener = (request, response) => {
    asked.push(request.url ?? '');
    response.setHeader('content-type', request.url === '/wstun-pkg' ? 'application/json' : 'text/html');
    response.end(
      request.url === '/wstun-pkg'
        ? '{"name":"wstun-pkg","dist-tags":{"latest":"1.2.3"},"versions":{"1.2.3":{"name":"wstun-pkg","version":"1.2.3"}}}'
        : 'it works',
    );
  };
  const plain = createServer(handle).listen(0, '127.0.0.1');
  const sealed = createTlsServer(pair, handle).listen(443, '127.0.0.1');
  await Promise.all([once(plain, 'listening'), once(sealed, 'listening')]);
  for (const server of [plain, sealed]) atEnd(() => [server.close(), server.closeAllConnections()]);
  web = (plain.address() as AddressInfo).port;
  git = await startGitServer();
});

/** What a client that listens there prints, with the password filled in. */
async function printedBy(
  args: readonly string[],
): Promise<{ readonly text: string; readonly lines: readonly string[] }> {
  const client = new WstunProcess(['client', ...args], { env: { WSTUN_INVITE: secret } });
  await until(() => client.stderr.includes('Press Ctrl-C to stop'), 10_000);
  expect(client.stderr).not.toContain(PASSWORD);
  const lines = client.stderr
    .split('\n')
    .flatMap((line) => /^ {2}((?:curl|chromium|export) .*)$/.exec(line)?.[1] ?? []);
  return { text: client.stderr, lines: lines.map((line) => line.replace(':PASSWORD@', `:${PASSWORD}@`)) };
}

const shell = (script: string) =>
  run('sh', ['-c', script], { env: { CURL_CA_BUNDLE: join(dir, 'ca.pem'), HOME: dir }, limitMs: 30_000 });

describe.each([
  ['where it listens by default', ['--listen', '127.0.0.1:0']],
  ['on IPv6', ['--listen', '[::1]:0']],
  ['on all addresses, with a password', ['--listen', '0.0.0.0:0', '--user', `me:${PASSWORD}`]],
] as const)('the printed lines of a client %s', (_where, args) => {
  it('the lines that a client prints work as they are printed, each by itself and all together', {
    timeout: 240_000,
  }, async () => {
    const { text, lines } = await printedBy(args);
    expect(lines).toHaveLength(9);
    expect(lines.join()).not.toMatch(/0\.0\.0\.0|:0\b/);
    const [curl = '', , ...exports] = lines;
    expect(await shell(`${curl} -sS`)).toMatchObject({ code: 0, stdout: 'it works', stderr: '' });

    const page = `http://${HOST}:${web}/`;
    for (const line of exports.filter((each) => /ALL_PROXY|http_proxy/.test(each)))
      expect([line, await shell(`${line}; curl -sS ${page}`)]).toMatchObject([line, { code: 0, stdout: 'it works' }]);
    for (const line of exports.filter((each) => /ALL_PROXY|(https|HTTPS)_(proxy|PROXY)/.test(each)))
      expect([line, await shell(`${line}; curl -sS https://${HOST}/`)]).toMatchObject([
        line,
        { code: 0, stdout: 'it works' },
      ]);

    const all = exports.join('; ');
    expect(await shell(`${all}; curl -sS ${page}`)).toMatchObject({ code: 0, stdout: 'it works' });
    expect(await shell(`${all}; curl -sS http://127.0.0.1:${web}/`)).toMatchObject({ code: 0, stdout: 'it works' });
    const repository = `http://${HOST}:${git.port}/repo.git`;
    expect(await shell(`${all}; git ls-remote ${repository}`)).toMatchObject({ code: 0 });
    const npm = `npm view wstun-pkg version --registry ${page} --cache ${dir}/npm`;
    expect(await shell(`${all}; ${npm}`)).toMatchObject({ code: 0, stdout: expect.stringContaining('1.2.3') });
    const apt = `/usr/lib/apt/apt-helper download-file ${page}apt ${dir}/apt`;
    expect(await shell(`${all}; ${apt}`)).toMatchObject({ code: 0 });
    expect(await readFile(join(dir, 'apt'), 'utf8')).toBe('it works');
    expect(asked).toContain('/apt');
    expect(text).toContain('Firefox: ');
  });
});

describe('the printed line for Chromium', () => {
  it.each([['127.0.0.1:0'], ['[::1]:0']])(
    'the line that a client at %s prints for Chromium opens a page through the tunnel',
    { timeout: 180_000 },
    async (listen) => {
      const { lines } = await printedBy(['--listen', listen]);
      const line = lines.find((each) => each.startsWith('chromium')) ?? '';
      const flags = '--headless --no-sandbox --disable-gpu --dump-dom';
      const own = line.replace('/tmp/wstun-browser', join(await tempDir(), 'profile'));
      const page = await runWell('sh', ['-c', `${own} ${flags} http://${HOST}:${web}/ 2>/dev/null`], {
        limitMs: 50_000,
      });
      expect(page).toContain('it works');
    },
  );
});
