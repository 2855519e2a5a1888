/**
 * A laptop whose addresses come and go under a tether: real interfaces in a network namespace, Chromium as the phone.
 */
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type RoamingLaptop, startRoamingLaptop } from '../support/net/roaming-laptop.ts';
import { tcpServer } from '../support/net/tcp.ts';
import { chunks, payload, sha256 } from '../support/payload.ts';
import { run, spawnBound } from '../support/programs/programs.ts';
import type { WstunProcess } from '../support/programs/wstun-process.ts';
import { invite, spawnClient, startRelay } from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { Phone } from '../support/tether/phone.ts';
import { nextCode } from '../support/tether/tethered.ts';

const MIB = 1024 * 1024;
const LIMIT_MS = 120_000;
/** It looks every three seconds, and once more to be sure; the rest is for a busy machine. */
const FOLLOWS_WITHIN_MS = 8_000;

/** Only a phone can carry its links: without one it has none. */
async function startTethered(laptop: RoamingLaptop, tether: readonly string[] = []): Promise<WstunProcess> {
  const secret = await invite(await startRelay(), 'laptop', { allow: ['*'] });
  const args = ['--tether', ...tether, '--no-direct', '--listen', '127.0.0.1:1080'];
  return spawnClient(secret, { within: laptop.within, args });
}

const count = ({ events }: WstunProcess, name: string) => events.filter(({ event }) => event === name).length;

/** The status of the answer to a request for the page with that Host; 0: no answer. */
async function statusAt(address: string, host = `${address}:8808`): Promise<number> {
  const args = ['-q', '-s', '-m', '3', '-o', '/dev/null', '-w', '%{http_code}', '-H', `Host: ${host}`];
  return Number((await run('curl', [...args, `http://${address}:8808/`])).stdout);
}

async function sendSlowly(socket: Socket, bytes: number, seed: number): Promise<void> {
  for (const chunk of chunks(bytes, seed)) {
    socket.write(chunk);
    await delay(75);
  }
  socket.end();
}

describe('a laptop without a network', () => {
  it('a tethered client without a network waits for one, shows its code there, and follows to the next with its transfers', {
    timeout: LIMIT_MS,
  }, async () => {
    const laptop = await startRoamingLaptop();
    const client = await startTethered(laptop);
    expect(await client.event('tether-no-address')).toMatchObject({ code: 'WSTUN-E124' });
    const home = await laptop.join('wlan', 0);
    const first = await nextCode(client);
    expect(first).toContain(`http://${home.address}:8808/#`);
    const phone = await Phone.start();
    const page = await phone.open(first);
    await page.until('active');
    await client.event('ready');

    const bytes = 32 * MIB;
    const source = await tcpServer((socket) => void sendSlowly(socket, bytes, 2));
    const cwd = await tempDir();
    const url = `http://127.0.0.1:${source}/`;
    const args = ['-q', '-sS', '-x', 'socks5h://127.0.0.1:1080', '--http0.9', url, '-o', 'got'];
    const fetched = run('curl', args, { within: laptop.within, cwd, limitMs: 100_000 });
    await delay(2_000);
    await home.leave();
    await delay(2_000);
    const hotspot = await laptop.join('wlan', 1);
    const since = performance.now();
    const second = await nextCode(client);
    expect(performance.now() - since).toBeLessThan(FOLLOWS_WITHIN_MS);
    expect(second).toContain(`http://${hotspot.address}:8808/#`);
    expect(client.events.find(({ event }) => event === 'tether-address')).toMatchObject({
      ...{ host: hotspot.address, port: 8808, again: false },
    });
    await page.until('gone');
    await (await phone.open(second)).until('active');
    await client.event('resumed', 20_000);
    expect(await fetched).toMatchObject({ code: 0, stderr: '' });
    expect(sha256(await readFile(join(cwd, 'got')))).toBe(sha256(payload(bytes, 2)));
    expect([count(client, 'tether-code'), count(client, 'session-lost')]).toEqual([2, 0]);
  });

  it('a tethered client without a network for phones connects directly meanwhile', { timeout: LIMIT_MS }, async () => {
    const laptop = await startRoamingLaptop();
    const secret = await invite(await startRelay({ within: laptop.within }), 'laptop');
    const client = spawnClient(secret, { within: laptop.within, args: ['--tether'] });
    await client.event('tether-no-address');
    await client.event('ready');
    await laptop.join('wlan', 0);
    await nextCode(client);
    expect(count(client, 'session-lost')).toBe(0);
  });

  it('a tethered client ends where the machine does not have the address that it was given', {
    timeout: LIMIT_MS,
  }, async () => {
    const laptop = await startRoamingLaptop();
    const client = await startTethered(laptop, [`${laptop.addresses[0]}:8808`]);
    expect(await client.exited).toBe(69);
    expect(client.stderr).toContain('WSTUN-E104');
  });
});

describe('a laptop with a network', () => {
  it('a tethered client is also reachable in a better network that it joins, and keeps its page in the old one', {
    timeout: LIMIT_MS,
  }, async () => {
    const laptop = await startRoamingLaptop();
    const cable = await laptop.join('eth', 0);
    const client = await startTethered(laptop);
    const page = await (await Phone.start()).open(await nextCode(client));
    await page.until('active');
    await client.event('ready');

    const wifi = await laptop.join('wlan', 1);
    expect(await nextCode(client)).toContain(`http://${wifi.address}:8808/#`);
    expect([await statusAt(wifi.address), await statusAt(wifi.address, `${cable.address}:8808`)]).toEqual([200, 403]);
    // Ten seconds are what it takes to find that a page is gone.
    await delay(11_000);
    expect(await page.text('headline')).toBe('Connected');
    expect(count(client, 'tether-lost')).toBe(0);
    await page.reload();
    await page.until('active');
    expect([count(client, 'tether-code'), count(client, 'tether-address')]).toEqual([2, 1]);
    await cable.leave();
    await page.until('gone');
    await client.event('tether-lost', 20_000);
  });

  it('a tethered client shows no new code after its network was away for some seconds, and serves as before', {
    timeout: LIMIT_MS,
  }, async () => {
    const laptop = await startRoamingLaptop();
    let wifi = await laptop.join('wlan', 0);
    const client = await startTethered(laptop);
    await nextCode(client);
    for (let i = 0; i < 2; i++) {
      await wifi.leave();
      await delay(4_000);
      wifi = await laptop.join('wlan', 0);
      await delay(4_000);
      expect(await statusAt(wifi.address)).toBe(200);
    }
    expect(client.events).toHaveLength(1);
    await wifi.leave();
    await client.event('tether-no-address', 20_000);
    wifi = await laptop.join('wlan', 0);
    expect(await client.event('tether-address')).toMatchObject({ host: wifi.address, again: true });
    expect(await statusAt(wifi.address)).toBe(200);
    expect(count(client, 'tether-code')).toBe(1);
  });

  it('a tethered client says that its port is in use in the next network, and listens once it is free', {
    timeout: LIMIT_MS,
  }, async () => {
    const laptop = await startRoamingLaptop();
    const wifi = await laptop.join('wlan', 0);
    const cable = await laptop.join('eth', 1);
    const hold = `require('net').createServer().listen(8808, '${cable.address}', () => process.stdout.write('held'))`;
    const holder = spawnBound(process.execPath, ['-e', hold], { within: laptop.within });
    atEnd(() => holder.kill('SIGKILL'));
    await new Promise((resolve) => holder.stdout?.once('data', resolve));
    const client = await startTethered(laptop);
    expect(await nextCode(client)).toContain(wifi.address);
    await wifi.leave();
    expect(await client.event('tether-cannot-listen', 20_000)).toMatchObject({ code: 'WSTUN-E104' });
    holder.kill('SIGKILL');
    await laptop.changeRoute(cable);
    expect(await nextCode(client)).toContain(`http://${cable.address}:8808/#`);
    expect([await statusAt(cable.address), count(client, 'tether-cannot-listen')]).toEqual([200, 1]);
  });

  it('a tether on all addresses shows the address that the machine has', { timeout: LIMIT_MS }, async () => {
    const laptop = await startRoamingLaptop();
    const client = await startTethered(laptop, ['0.0.0.0:8808']);
    await client.event('tether-no-address');
    const cable = await laptop.join('eth', 0);
    expect(await nextCode(client)).toContain(`http://${cable.address}:8808/#`);
    const wifi = await laptop.join('wlan', 1);
    expect(await nextCode(client)).toContain(`http://${wifi.address}:8808/#`);
    const both = [await statusAt(cable.address), await statusAt(wifi.address)];
    expect([...both, await statusAt(wifi.address, `${cable.address}:8808`)]).toEqual([200, 200, 403]);
  });
});
