/** `wstun client --via-browser=open`: the system's default browser, opened by `xdg-open`, which here starts Chromium. */
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import { invite, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { proxyPort } from '../support/tether/tethered.ts';
import { mainBrowserIn, START_LIMIT_MS, spawnViaBrowser } from '../support/tether/via-browser.ts';
import { until } from '../support/until.ts';

/** In front of PATH; what it starts outlives it, as a default browser does. */
async function folderWithOpener(script: string): Promise<string> {
  const folder = await tempDir();
  await writeFile(join(folder, 'xdg-open'), `#!/bin/sh\n${script}\n`);
  await chmod(join(folder, 'xdg-open'), 0o755);
  return folder;
}

const profile = (folder: string) => `--user-data-dir=${folder}/user`;

it('a tab carries; when it is closed the client says so, and Enter opens it again', async () => {
  const temp = await tempDir();
  const flags = `--headless=new --no-sandbox --no-first-run ${profile(temp)}`;
  const opener = await folderWithOpener(`chromium ${flags} "file://$1" >/dev/null 2>&1 &`);
  const relay = await startRelay();
  const { client } = await spawnViaBrowser(await invite(relay, 'laptop', { allow: ['*'] }), {
    args: ['--via-browser=open'],
    env: { TMPDIR: temp, PATH: `${opener}:${process.env.PATH}` },
  });
  const socket = await connectThrough('SOCKS5', await proxyPort(client, START_LIMIT_MS), await tcpServer(echo));
  process.kill(mainBrowserIn(`${temp}/user`)?.pid ?? 0, 'SIGTERM');
  expect(await client.event('browser-ended')).toMatchObject({ code: 'WSTUN-E144' });
  await until(() => mainBrowserIn(`${temp}/user`) === undefined, START_LIMIT_MS);
  client.say('');
  await client.event('resumed', START_LIMIT_MS);
  const { sent, received } = await exchange(socket, 100_000, 1);
  expect(received).toEqual({ bytes: 100_000, hash: sent });
  process.kill(mainBrowserIn(`${temp}/user`)?.pid ?? 0, 'SIGKILL');
});

it('a system that cannot open a page is reported at once, with what to do', async () => {
  const opener = await folderWithOpener('exit 3');
  const { client } = await spawnViaBrowser(await invite(await startRelay(), 'laptop'), {
    args: ['--via-browser=open'],
    env: { PATH: `${opener}:${process.env.PATH}` },
  });
  expect(await client.event('browser-ended')).toMatchObject({
    code: 'WSTUN-E144',
    message: expect.stringMatching(/xdg-open: exit code 3\. Press Enter/),
  });
});

it.each([
  ['--proxy', 'http://127.0.0.1:1'],
  ['--encryption', 'off'],
])('%s is rejected with --via-browser, because only the browser connects', async (option, value) => {
  const secret = await invite(await startRelay(), 'laptop');
  const { code, stderr } = await wstun(['client', '--listen', '127.0.0.1:0', '--via-browser', option, value], {
    env: { WSTUN_INVITE: secret },
  });
  expect(code).toBe(2);
  expect(stderr).toMatch(/browser/);
});
