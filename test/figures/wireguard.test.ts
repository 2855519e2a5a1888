/**
 * WireGuard through a UDP forward, beside plain WireGuard, over a path of 20 Mbit/s: TCP inside, and pings beside it.
 * The kernel of a test machine may have no WireGuard, so that of Go runs in two namespaces.
 * @module-tag waits
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { type RoutedNetwork, startRoutedNetwork } from '../support/net/routed-network.ts';
import { runWell, spawnBound } from '../support/programs/programs.ts';
import { invite, spawnClient, startRelay } from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';

const PORT = 51_821;
/** Of the path, and its queue. */
const PATH = ['tbf', 'rate', '20mbit', 'burst', '16kb', 'latency', '100ms'];
const SECONDS = 6;

interface Side {
  readonly name: string;
  readonly address: string;
  /** Undefined: the test's own namespace. */
  readonly within: readonly string[] | undefined;
  readonly publicKey: string;
  readonly keyFile: string;
}

async function makeSide(name: string, address: string, within?: readonly string[]): Promise<Side> {
  const key = await runWell('wg', ['genkey']);
  const publicKey = (await runWell('wg', ['pubkey'], { input: key })).trim();
  const keyFile = join(await tempDir(), `${name}.key`);
  await writeFile(keyFile, key, { mode: 0o600 });
  const env = { ...process.env, WG_PROCESS_FOREGROUND: '1' };
  const daemon = spawnBound('wireguard-go', [name], { env, ...(within && { within }) });
  atEnd(() => void daemon.kill());
  const options = within && { within };
  await vi.waitFor(async () => expect(await runWell('ip', ['-o', 'link'], options)).toContain(name));
  await runWell('ip', ['address', 'add', `${address}/24`, 'dev', name], options);
  return { name, address, within, publicKey, keyFile };
}

/** @param port at which it listens @param endpoint of the peer */
async function meet(side: Side, peer: Side, { port, endpoint }: { port?: number; endpoint?: string }): Promise<void> {
  const options = side.within && { within: side.within };
  const own = ['private-key', side.keyFile, ...(port === undefined ? [] : ['listen-port', String(port)])];
  const peerOf = ['peer', peer.publicKey, 'allowed-ips', `${peer.address}/32`];
  const at = endpoint === undefined ? [] : ['endpoint', endpoint];
  await runWell('wg', ['set', side.name, ...own, ...peerOf, ...at], options);
  await runWell('ip', ['link', 'set', side.name, 'up', 'mtu', '1420'], options);
}

/** TCP from the laptop for some seconds, Mbit/s that arrived, and pings meanwhile, ms. */
async function measure(network: RoutedNetwork, server: string): Promise<{ mbit: number; pings: number[] }> {
  const daemon = spawnBound('iperf3', ['-s', '-1', '-B', server]);
  atEnd(() => void daemon.kill());
  await vi.waitFor(async () => expect(await runWell('ss', ['-Hltn'])).toContain(`${server}:5201`));
  const within = network.there;
  const pinging = runWell('ping', ['-i', '0.05', '-w', String(SECONDS), server], { within });
  const report = await runWell('iperf3', ['-c', server, '-t', String(SECONDS), '-O', '1', '-J'], { within });
  const { end } = JSON.parse(report) as { end: { sum_received: { bits_per_second: number } } };
  const pings = [...(await pinging).matchAll(/time=([\d.]+)/g)].map(([, ms]) => Number(ms));
  return { mbit: end.sum_received.bits_per_second / 1e6, pings: pings.sort((a, b) => a - b) };
}

it('WireGuard over a UDP forward carries at least 0.6 of what it carries alone', { timeout: 120_000 }, async () => {
  const network = await startRoutedNetwork();
  for (const dev of network.interfaces)
    await runWell('tc', ['qdisc', 'add', 'dev', dev, 'root', ...PATH], { within: network.router });
  const server = await makeSide('wgserver', '10.99.0.2');
  const laptop = await makeSide('wglaptop', '10.99.0.1', network.there);
  await meet(server, laptop, { port: PORT });
  await meet(laptop, server, { endpoint: `${network.relayAddress}:${PORT}` });
  const plain = await measure(network, server.address);

  const relay = await startRelay({
    args: ['--listen', `${network.relayAddress}:4480`, '--url', `ws://${network.relayAddress}:4480`],
  });
  const secret = await invite(relay, 'laptop', { allow: [`127.0.0.1:${PORT}`] });
  const args = ['--listen', '127.0.0.1:0', '-L', `51820:127.0.0.1:${PORT}/udp`];
  await spawnClient(secret, { within: network.there, args }).event('ready');
  await runWell('wg', ['set', laptop.name, 'peer', server.publicKey, 'endpoint', '127.0.0.1:51820'], {
    within: network.there,
  });
  const tunnelled = await measure(network, server.address);

  const ratio = tunnelled.mbit / plain.mbit;
  if (process.env.FIGURES)
    process.stdout.write(`plain ${show(plain)}; through wstun ${show(tunnelled)}; ratio ${ratio.toFixed(2)}\n`);
  expect(ratio).toBeGreaterThan(0.6);
});

function show({ mbit, pings }: { readonly mbit: number; readonly pings: readonly number[] }): string {
  const at = (share: number) => pings[Math.min(pings.length - 1, Math.floor(pings.length * share))];
  return `${mbit.toFixed(1)} Mbit/s, ping p50 ${at(0.5)}, p99 ${at(0.99)} ms`;
}
