/**
 * Three network namespaces: the laptop has a link to the phone and to nothing else, the phone has one to the relay as well. So what
 * arrives went through the phone. Needs root, and says so where it is not: no other test proves the same.
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { payload, sha256 } from '../support/payload.ts';
import { CHROMIUM, chromiumArgs } from '../support/phone.ts';
import { run, runWell, spawnBound } from '../support/programs.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { nextCode } from '../support/tethered.ts';
import { invite, spawnClient, startRelay } from '../support/wstun-stack.ts';

const MIB = 1024 * 1024;
const ID = randomBytes(2).toString('hex');
const LAPTOP = `wl${ID}`;
const PHONE = `wp${ID}`;
/** Of the private addresses, a corner that nobody uses. */
const LAPTOP_ADDRESS = '10.213.1.2';
const PHONE_ADDRESS = '10.213.1.1';
const PHONE_OUTSIDE = '10.213.2.2';
const RELAY_ADDRESS = '10.213.2.1';

const within = (namespace: string): string[] => ['ip', 'netns', 'exec', namespace];
const ip = (...args: string[]): Promise<string> => runWell('ip', args);

async function wire(a: { ns?: string; name: string; address: string }, b: typeof a): Promise<void> {
  await ip('link', 'add', a.name, 'type', 'veth', 'peer', 'name', b.name);
  for (const { ns, name, address } of [a, b]) {
    const at = ns === undefined ? [] : ['-n', ns];
    if (ns !== undefined) await ip('link', 'set', name, 'netns', ns);
    await ip(...at, 'address', 'add', `${address}/24`, 'dev', name);
    await ip(...at, 'link', 'set', name, 'up');
  }
}

beforeAll(async () => {
  if (process.getuid?.() !== 0) throw new Error('these tests make network namespaces, for which they must run as root');
  for (const namespace of [LAPTOP, PHONE]) {
    await ip('netns', 'add', namespace);
    atEnd(() => run('ip', ['netns', 'delete', namespace]));
    await ip('-n', namespace, 'link', 'set', 'lo', 'up');
  }
  await wire(
    { ns: LAPTOP, name: `wlan${ID}`, address: LAPTOP_ADDRESS },
    { ns: PHONE, name: `ap${ID}`, address: PHONE_ADDRESS },
  );
  await wire({ ns: PHONE, name: `cell${ID}`, address: PHONE_OUTSIDE }, { name: `net${ID}`, address: RELAY_ADDRESS });
});

/** Serves one file, and keeps what is posted. */
async function startWeb(file: Buffer): Promise<{ readonly port: number; readonly posted: Buffer[] }> {
  const posted: Buffer[] = [];
  const server: Server = createServer(async (request, response) => {
    if (request.method !== 'POST') return response.end(file);
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    posted.push(Buffer.concat(parts));
    return response.end('thanks');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(() => void server.close().closeAllConnections());
  return { port: (server.address() as AddressInfo).port, posted };
}

it('a laptop that reaches only the phone gets 64 MiB each way through it', { timeout: 90_000 }, async () => {
  const relay = await startRelay({ args: ['--listen', `${RELAY_ADDRESS}:0`] });
  const url = String(relay.process.events[0]?.listen).split(',').at(-1);
  const secret = await invite(relay, 'laptop', { allow: ['*'], url: `ws://${url}` });

  // The direct way is tried as well, and there is none.
  expect((await run('ip', ['-n', LAPTOP, 'route', 'get', RELAY_ADDRESS])).stderr).toContain('unreachable');
  const client = spawnClient(secret, { within: within(LAPTOP), args: ['--tether', '--listen', '127.0.0.1:1080'] });
  const code = await nextCode(client);
  expect(code).toMatch(new RegExp(`^http://${LAPTOP_ADDRESS}:8808/#`));

  const phone = spawnBound(CHROMIUM, [...chromiumArgs(await tempDir()), code], { within: within(PHONE) });
  atEnd(() => phone.kill('SIGKILL'));
  expect(await client.event('tether-paired', 20_000)).toMatchObject({ remote: PHONE_ADDRESS, again: false });
  await client.event('ready');

  const [down, up] = [payload(64 * MIB, 1), payload(64 * MIB, 2)];
  const web = await startWeb(down);
  const dir = await tempDir();
  await writeFile(join(dir, 'up'), up);
  const curl = (...args: string[]) =>
    run('curl', ['-q', '-sS', '-x', 'socks5h://127.0.0.1:1080', `http://127.0.0.1:${web.port}/`, ...args], {
      within: within(LAPTOP),
      cwd: dir,
      limitMs: 60_000,
    });
  expect(await curl('-o', 'down')).toMatchObject({ code: 0, stderr: '' });
  const hash = await runWell('sha256sum', ['down'], { cwd: dir });
  expect(hash.split(' ')[0]).toBe(sha256(down));
  expect(await curl('--data-binary', '@up')).toMatchObject({ code: 0, stdout: 'thanks' });
  expect(sha256(web.posted[0] ?? Buffer.alloc(0))).toBe(sha256(up));
});
