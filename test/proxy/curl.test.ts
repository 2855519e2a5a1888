/** @module-tag waits */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { proxyTo } from '../support/proxy/proxy.ts';

const run = promisify(execFile);
const CREDENTIALS = { user: 'ann', pass: 'secret' };

/** Serves `page` at every path, and echoes what is posted. */
async function pageServer(page: Buffer): Promise<number> {
  const server = createServer((request, response) => {
    if (request.method === 'POST') request.pipe(response);
    else response.end(page);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close().closeAllConnections());
  return (server.address() as AddressInfo).port;
}

/** No proxy of the machine's environment, no configuration file, no progress. */
async function curl(...args: string[]): Promise<string> {
  const env = { PATH: process.env.PATH };
  const { stdout } = await run('curl', ['-q', '-sS', '--max-time', '10', ...args], { env, maxBuffer: 1 << 26 });
  return stdout;
}

describe('curl', () => {
  const schemes = ['socks5', 'socks5h', 'socks4a', 'http'];

  it.each(schemes)('curl fetches a page through %s://', async (scheme) => {
    const { port, opener } = await proxyTo(await pageServer(Buffer.from('page')));
    // 192.0.2.1 needs no look-up, whichever end would do it.
    expect(await curl('-x', `${scheme}://127.0.0.1:${port}`, 'http://192.0.2.1/a', 'http://192.0.2.1/b')).toBe(
      'pagepage',
    );
    expect(opener.targets).toHaveLength(1);
  });

  it('curl leaves names to the exit with socks5h, socks4a, CONNECT and plain HTTP', async () => {
    const { port, opener } = await proxyTo(await pageServer(Buffer.from('page')));
    for (const scheme of ['socks5h', 'socks4a', 'http']) {
      await curl('-x', `${scheme}://127.0.0.1:${port}`, 'http://name.invalid/');
    }
    await curl('-p', '-x', `http://127.0.0.1:${port}`, 'http://name.invalid/');
    expect(opener.targets).toEqual(new Array(4).fill({ kind: 'name', name: 'name.invalid', port: 80 }));
  });

  it.each([['-x'], ['-p', '-x']])('curl posts and gets back 8 MiB with %s', async (...flags) => {
    const { port } = await proxyTo(await pageServer(Buffer.alloc(0)));
    const body = randomBytes(4 * 1024 * 1024).toString('hex');
    const posted = run(
      'curl',
      ['-q', '-sS', ...flags, `http://127.0.0.1:${port}`, '--data-binary', '@-', 'http://h/'],
      {
        env: { PATH: process.env.PATH },
        maxBuffer: 1 << 26,
      },
    );
    posted.child.stdin?.end(body);
    expect((await posted).stdout === body).toBe(true);
  });

  it('curl posts although it would prefer HTTP/2', async () => {
    const { port } = await proxyTo(await pageServer(Buffer.from('page')));
    const args = ['--http2', '-w', ' %{http_code} %{http_version}', '-x', `http://127.0.0.1:${port}`];
    expect(await curl(...args, '-d', 'x=1', 'http://h/')).toBe('x=1 200 1.1');
    expect(await curl(...args, 'http://h/')).toBe('page 200 1.1');
  });

  it('curl reports the reply of a refused dial', async () => {
    const { port, opener } = await proxyTo(0);
    opener.fault = 'dial-refused';
    await expect(curl('-x', `socks5h://127.0.0.1:${port}`, 'http://h/')).rejects.toThrow(/\(5\)/);
    expect(await curl('-x', `http://127.0.0.1:${port}`, 'http://h/')).toContain('WSTUN-E301');
  });

  it.each(['socks5h', 'http'])('curl authenticates over %s, and is refused without credentials', async (scheme) => {
    const { port } = await proxyTo(await pageServer(Buffer.from('page')), { credentials: CREDENTIALS });
    const via = (user: string) => curl('--fail', '-x', `${scheme}://${user}127.0.0.1:${port}`, 'http://h/');
    expect(await via('ann:secret@')).toBe('page');
    await expect(via('ann:wrong@')).rejects.toThrow();
    await expect(via('')).rejects.toThrow();
  });
});
