/**
 * Three network namespaces: the laptop reaches only the phone, and the phone reaches the relay, too. So what arrives
 * went through the phone. Needs root, and fails without it: no other test proves the same.
 */
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startPhoneNetwork } from '../support/net/phone-network.ts';
import { payload, sha256 } from '../support/payload.ts';
import { run, runWell } from '../support/programs/programs.ts';
import { invite, spawnClient, startRelay } from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { spawnChromium } from '../support/tether/phone.ts';
import { nextCode } from '../support/tether/tethered.ts';

const MIB = 1024 * 1024;
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

it('a laptop that reaches only the phone gets 16 MiB each way through it', { timeout: 240_000 }, async () => {
  const { laptop, phone, relayAddress } = await startPhoneNetwork();
  const relay = await startRelay({ args: ['--listen', `${relayAddress}:0`] });
  const url = String(relay.process.events[0]?.listen).split(',').at(-1);
  const secret = await invite(relay, 'laptop', { allow: ['*'], url: `ws://${url}` });

  // The direct way is tried as well, and there is none.
  expect((await run('ip', ['-n', laptop.name, 'route', 'get', relayAddress])).stderr).toContain('unreachable');
  const client = spawnClient(secret, { within: laptop.within, args: ['--tether', '--listen', '127.0.0.1:1080'] });
  const code = await nextCode(client);
  expect(code).toMatch(new RegExp(`^http://${laptop.address}:8808/#`));

  await spawnChromium([code], { within: phone.within });
  expect(await client.event('tether-paired', 20_000)).toMatchObject({ remote: phone.address, again: false });
  await client.event('ready');

  const [down, up] = [payload(16 * MIB, 1), payload(16 * MIB, 2)];
  const web = await startWeb(down);
  const dir = await tempDir();
  await writeFile(join(dir, 'up'), up);
  const curl = (...args: string[]) =>
    run('curl', ['-q', '-sS', '-x', 'socks5h://127.0.0.1:1080', `http://127.0.0.1:${web.port}/`, ...args], {
      within: laptop.within,
      cwd: dir,
      limitMs: 60_000,
    });
  expect(await curl('-o', 'down')).toMatchObject({ code: 0, stderr: '' });
  const hash = await runWell('sha256sum', ['down'], { cwd: dir });
  expect(hash.split(' ')[0]).toBe(sha256(down));
  expect(await curl('--data-binary', '@up')).toMatchObject({ code: 0, stdout: 'thanks' });
  expect(sha256(web.posted[0] ?? Buffer.alloc(0))).toBe(sha256(up));
});
