/** `wstun client --via-browser`: a real Chromium, which the client starts, carries the links. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { invite, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { CarryingPage } from '../support/tether/carrying-page.ts';
import {
  allArguments,
  browsersIn,
  contentsOf,
  mainBrowserIn,
  START_LIMIT_MS,
  spawnViaBrowser,
  startViaBrowser,
} from '../support/tether/via-browser.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;

/** Of the one folder that a client makes for its browser. */
function folderIn(temp: string): string | undefined {
  const name = readdirSync(temp).find((one) => one.startsWith('wstun-browser-'));
  return name && join(temp, name);
}

describe('--via-browser', () => {
  it('the browser carries 8 MiB each way, whole, and leaves nothing behind at the end', async () => {
    const { client, port, temp } = await startViaBrowser();
    const socket = await connectThrough('SOCKS5', port, await tcpServer(echo));
    const { sent, received } = await exchange(socket, 8 * MIB, 1);
    expect(received).toEqual({ bytes: 8 * MIB, hash: sent });
    socket.destroy();
    client.signal('SIGTERM');
    expect(await client.exited).toBe(0);
    expect(folderIn(temp)).toBeUndefined();
    await until(() => browsersIn(temp).length === 0, 5_000);
  });

  it('nobody can read the secret of the pairing, and it opens nothing a second time', async () => {
    const relay = await startRelay();
    const { client, temp } = await spawnViaBrowser(await invite(relay, 'laptop'), {
      args: ['--via-browser=/usr/bin/chromium', '--verbose'],
    });
    await until(() => startFileIn(temp) !== undefined && mainBrowserIn(temp) !== undefined, START_LIMIT_MS);
    const start = startFileIn(temp) ?? '';
    const secret = /value="([\w-]{22})"/.exec(start)?.[1] ?? 'none';
    const target = /action="([^"]+)"/.exec(start)?.[1] ?? 'none';
    expect(allArguments()).not.toContain(secret);
    expect(statSync(folderIn(temp) ?? '').mode & 0o777).toBe(0o700);
    await client.event('ready', START_LIMIT_MS);
    expect(startFileIn(temp)).toBeUndefined();
    const again = await fetch(target, {
      method: 'POST',
      headers: { Origin: 'null', 'Content-Type': 'application/x-www-form-urlencoded' },
      body: `secret=${secret}`,
    });
    expect(again.status).toBe(403);
    expect(allArguments()).not.toContain(secret);
    expect(client.stdout + client.stderr).not.toContain(secret);
    // Of the profile: history, storage, cache.
    expect(contentsOf(temp)).not.toContain(secret);
  });

  it('a browser that is killed is started again, and 10 streams wait for it and lose nothing', async () => {
    const { client, port, temp } = await startViaBrowser();
    const target = await tcpServer(echo);
    const sockets = await Promise.all(Array.from({ length: 10 }, () => connectThrough('SOCKS5', port, target)));
    const before = mainBrowserIn(temp);
    process.kill(before?.pid ?? 0, 'SIGKILL');
    expect(await client.event('browser-ended')).toMatchObject({ code: 'WSTUN-E142', waitMs: 0 });
    await client.event('resumed', START_LIMIT_MS);
    const exchanges = await Promise.all(sockets.map((socket, i) => exchange(socket, MIB / 8, i)));
    for (const { sent, received } of exchanges) expect(received).toEqual({ bytes: MIB / 8, hash: sent });
    expect(mainBrowserIn(temp)?.pid).not.toBe(before?.pid);
    expect(client.events.filter(({ event }) => event === 'session-lost')).toEqual([]);
  });

  it('a phone carries while the browser is gone', async () => {
    const { client, port, temp } = await startViaBrowser({
      args: [`--via-browser=${await browserThatStartsOnce()}`, '--tether', '127.0.0.1:0'],
    });
    const socket = await connectThrough('SOCKS5', port, await tcpServer(echo));
    const code = client.events.find(({ event }) => event === 'tether-code')?.url;
    const phone = await CarryingPage.join(String(code));
    await client.event('tether-paired');
    process.kill(mainBrowserIn(temp)?.pid ?? 0, 'SIGKILL');
    // Its other processes may carry a moment longer.
    await client.event('resumed');
    const { sent, received } = await exchange(socket, 100_000, 1);
    expect(received).toEqual({ bytes: 100_000, hash: sent });
    expect(phone.links.length).toBeGreaterThan(0);
  });

  it('no browser stays when the client is killed, and the next client removes its folder', async () => {
    const { relay, client, temp } = await startViaBrowser();
    const abandoned = folderIn(temp);
    await client.kill();
    await until(() => browsersIn(temp).length === 0, 5_000);
    expect(folderIn(temp)).toBe(abandoned);
    const { client: next } = await spawnViaBrowser(await invite(relay, 'next'), { env: { TMPDIR: temp } });
    await next.event('ready', START_LIMIT_MS);
    expect(readdirSync(temp).map((name) => join(temp, name))).not.toContain(abandoned);
  });
});

/** Its later starts open no page and never end by themselves. */
async function browserThatStartsOnce(): Promise<string> {
  const folder = await tempDir();
  const program = join(folder, 'browser');
  const started = join(folder, 'started');
  const lines = [
    '#!/bin/sh',
    `[ "$1" = --version ] || mkdir '${started}' && exec /usr/bin/chromium "$@"`,
    'exec sleep infinity',
  ];
  await writeFile(program, lines.join('\n'), { mode: 0o755 });
  return program;
}

function startFileIn(temp: string): string | undefined {
  try {
    return readFileSync(join(folderIn(temp) ?? '', 'start.html'), 'utf8');
  } catch {
    return undefined;
  }
}
