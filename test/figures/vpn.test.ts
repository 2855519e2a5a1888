/**
 * How much of a link `wstun vpn` fills.
 * @module-tag waits
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { startDnsServer } from '../support/net/dns-server.ts';
import { startWatchedUplink } from '../support/net/watched-uplink.ts';
import { runWell } from '../support/programs/programs.ts';
import { isTun2proxyHere, PATH_WITH_TUN2PROXY } from '../support/programs/tun2proxy.ts';
import { WstunProcess } from '../support/programs/wstun-process.ts';
import { invite, startRelay } from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';

const MBIT = 20;
/** Of data: the link counts whole Ethernet frames, of 1,514 bytes, in each of which TCP has 1,448. */
const CARRIED_MBIT = (MBIT * 1_448) / 1_514;
const BYTES = 12 * 1024 * 1024;

it.skipIf(!isTun2proxyHere)('wstun vpn fills nine tenths of a link of 20 Mbit/s, down and up', async () => {
  const uplink = await startWatchedUplink();
  await uplink.shape(MBIT);
  const relay = await startRelay({
    dns: await startDnsServer({ 'site.example.net': { addresses: ['127.0.0.1'] } }),
    args: ['--listen', '0.0.0.0:8443'],
  });
  const secret = await invite(relay, 'laptop', { allow: ['*'], url: `ws://${uplink.relayAddress}:8443` });
  const server = createServer((request, response) => {
    request.resume().once('end', () => response.end(request.method === 'GET' ? Buffer.alloc(BYTES) : ''));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEnd(() => [server.close(), server.closeAllConnections()]);
  const env = { WSTUN_INVITE: secret, XDG_STATE_HOME: await tempDir(), PATH: PATH_WITH_TUN2PROXY };
  const vpn = new WstunProcess(['vpn', '--json'], { env, within: uplink.there });
  await vpn.event('ready', 30_000);
  const url = `http://site.example.net:${(server.address() as AddressInfo).port}/`;
  const speed = async (name: string, ...args: string[]): Promise<number> => {
    const text = await runWell('curl', ['-sS', '-o', '/dev/null', '-w', `%{speed_${name}}`, ...args, url], {
      within: uplink.there,
      limitMs: 60_000,
      ...(name === 'upload' && { input: Buffer.alloc(BYTES) }),
    });
    return (Number(text) * 8) / 1e6;
  };
  const figures = { down: await speed('download'), up: await speed('upload', '-H', 'Expect:', '-T', '-') };
  if (process.env.FIGURES) process.stderr.write(`wstun vpn at ${MBIT} Mbit/s: ${JSON.stringify(figures)}\n`);
  expect(figures.down).toBeGreaterThan(0.9 * CARRIED_MBIT);
  expect(figures.up).toBeGreaterThan(0.9 * CARRIED_MBIT);
  vpn.signal('SIGTERM');
  expect(await vpn.exited).toBe(0);
});
