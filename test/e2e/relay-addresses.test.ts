/**
 * A relay whose name has several addresses, some of which drop all that is sent to them. The client resolves them from
 * a hosts file, in a network namespace of its own.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { addNamespace, ip, wire, within } from '../support/net/namespaces.ts';
import { runWell } from '../support/programs/programs.ts';
import { invite, spawnClient, startRelay } from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';

/**
 * Half a second for two dead addresses, 0.75 s for three; the rest is for a busy machine. Two that were waited for take
 * 5 s.
 */
const CONNECTED_WITHIN_MS = 4_500;
const NOWHERE = '02:00:00:00:00:99';

let laptops = 0;

/** A laptop with a wire to the relay's network, where it sends what is for `dead` to an adapter that is not there. */
async function laptopWith(hosts: readonly string[], dead: readonly string[]) {
  laptops += 1;
  const name = `laptop${process.pid}n${laptops}`;
  await mkdir(`/etc/netns/${name}`, { recursive: true });
  atEnd(() => rm(`/etc/netns/${name}`, { recursive: true }));
  await writeFile(`/etc/netns/${name}/hosts`, hosts.map((address) => `${address} relay.test\n`).join(''));
  await addNamespace(name);
  const [near, far] = [`lap${laptops}`, `rel${laptops}`];
  const net = `10.77.${laptops}`;
  // As far from each of the addresses as from the others: the resolver would put a nearer one first (RFC 6724, rule 9).
  await wire({ namespace: name, name: near, address: `${net}.200` }, { name: far, address: `${net}.3` });
  await ip('-n', name, 'address', 'add', 'fd77::2/64', 'dev', near, 'nodad');
  for (const address of dead)
    await ip('-n', name, 'neigh', 'add', address.replace('NET', net), 'lladdr', NOWHERE, 'dev', near);
  return { net, there: within(name), namespace: name };
}

it.each([
  ['two of IPv4 are dead', ['NET.98', 'NET.99', 'NET.3'], ['NET.98', 'NET.99']],
  ['one of each family is dead', ['fd77::98', 'NET.99', 'NET.3'], ['fd77::98', 'NET.99']],
  [
    'all of IPv6 and one of IPv4 are dead',
    ['fd77::98', 'fd77::97', 'NET.99', 'NET.3'],
    ['fd77::98', 'fd77::97', 'NET.99'],
  ],
])('a client connects at its first attempt where of the relay’s addresses %s', async (_what, addresses, dead) => {
  const net = `10.77.${laptops + 1}`;
  const hosts = addresses.map((address) => address.replace('NET', net));
  const { there } = await laptopWith(hosts, dead);
  const relay = await startRelay({ args: ['--listen', `${net}.3:4480`] });
  const secret = await invite(relay, 'alice', { allow: ['*'], url: 'ws://relay.test:4480' });
  // What the name resolves to there, as the client will be told.
  expect(await runWell('getent', ['ahosts', 'relay.test'], { within: there })).toContain(hosts[0]);
  const client = spawnClient(secret, { within: there });
  const since = performance.now();
  await client.event('ready');
  expect(performance.now() - since).toBeLessThan(CONNECTED_WITHIN_MS);
  expect(client.events.map(({ event }) => event)).toEqual(['ready']);
});

it('a client that lost its link connects at once to the relay’s address that worked', async () => {
  const net = `10.77.${laptops + 1}`;
  const { there, namespace } = await laptopWith([`${net}.98`, `${net}.99`, `${net}.3`], ['NET.98', 'NET.99']);
  const relay = await startRelay({ args: ['--listen', `${net}.3:4480`] });
  const secret = await invite(relay, 'alice', { allow: ['*'], url: 'ws://relay.test:4480' });
  const client = spawnClient(secret, { within: there });
  await client.event('ready');
  const away: number[] = [];
  for (let i = 0; i < 3; i++) {
    await runWell('ss', ['-K', 'dport', '=', '4480'], { within: within(namespace) });
    away.push(Number((await client.event('resumed')).awayMs));
  }
  // Either dead address, tried first, would take 250 ms each time.
  expect(Math.min(...away)).toBeLessThan(250);
});
