/**
 * A single label, as people type it on an intranet, is looked up at the exit below the search domains of its machine.
 */
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startDnsServer } from '../support/net/dns-server.ts';
import { runWell } from '../support/programs/programs.ts';
import { invite, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Runs a command with that file as its resolv.conf. */
const withResolvConf = (path: string) =>
  ['unshare', '-m', 'sh', '-c', `mount --bind ${path} /etc/resolv.conf && exec "$0" "$@"`] as const;

it('curl gets http://wiki/ by SOCKS and by HTTP where the exit’s resolv.conf has the search domain, and no more after that changed', async () => {
  const dns = await startDnsServer({ 'wiki.corp.example': { addresses: ['127.0.0.1'] } });
  atEnd(() => dns.close());
  const web = createServer((request, response) => response.end(`for ${request.headers.host}`)).listen(0, '127.0.0.1');
  atEnd(() => web.close());
  const resolvConf = join(await tempDir(), 'resolv.conf');
  await writeFile(resolvConf, 'search corp.example\n');
  const relay = await startRelay({ dns, within: withResolvConf(resolvConf) });
  const { port } = await startClient(await invite(relay, 'alice', { allow: ['wiki.corp.example'] }));
  const host = `wiki:${(web.address() as AddressInfo).port}`;
  const curl = (proxy: string) =>
    runWell('curl', ['-sS', '--max-time', '10', '-x', proxy, '-w', '%{http_code}', `http://${host}/`]);
  expect(await curl(`socks5h://127.0.0.1:${port}`)).toBe(`for ${host}200`);
  expect(await curl(`http://127.0.0.1:${port}`)).toBe(`for ${host}200`);
  await writeFile(resolvConf, 'search lab.example\n');
  await expect.poll(() => curl(`http://127.0.0.1:${port}`), { timeout: 30_000, interval: 1_000 }).toMatch(/502$/);
});
