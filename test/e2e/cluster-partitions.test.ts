/**
 * A cluster of which a part is cut off, hangs, or has a full disk.
 * @module-tag waits
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { newEntry } from '../../src/app/invites.ts';
import { createIdentity } from '../../src/crypto/keys.ts';
import { type ChaosProxy, startChaosProxy } from '../support/net/chaos-proxy.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { leaderOf, type NatsServer } from '../support/programs/nats.ts';
import { mountSmallDisk, type SmallDisk } from '../support/programs/small-disk.ts';
import { WstunCluster } from '../support/programs/wstun-cluster.ts';
import { invite, spawnClient, startClient, startExit } from '../support/programs/wstun-stack.ts';
import { carry } from '../support/proxy/carry.ts';
import { connectThrough, endOf } from '../support/proxy/through-proxy.ts';
import { until } from '../support/until.ts';

const LIMIT = { timeout: 240_000 };
/** After 9 s a server that answers nothing counts as lost. */
const NOTICED = { timeout: 15_000 };
const BACK = { timeout: 30_000 };
/** More than the last block of a file has room for. */
const LONG = { allow: Array.from({ length: 250 }, (_, at) => `10.${at >> 8}.${at & 255}.0/24`) };

/** A client whose exit is at relay 0, by the invite of relay `at`. */
async function clientSecret(cluster: WstunCluster, at: number, exitAt = [0]): Promise<string> {
  const exit = await startExit({ invite: await cluster.invite('home', { role: 'exit' }, exitAt) });
  const announced = () => cluster.relay(exitAt[0] ?? 0).process.stderr.split('exit announced its clients').length;
  const before = announced();
  const secret = await invite(exit, 'alice', { allow: ['127.0.0.1'], url: cluster.urlOf(at), sessions: '16' });
  await until(() => announced() > before);
  return secret;
}

describe('a relay that is cut off from NATS', () => {
  it(
    'what it serves goes on, it says so within 15 s, and it learns within 30 s of the end whom others have removed',
    LIMIT,
    async () => {
      const target = await tcpServer(echo);
      let proxy: ChaosProxy | undefined;
      const urlsFor = async (at: number, [server]: readonly NatsServer[]): Promise<string> => {
        const { client: port } = server?.ports ?? { client: 0 };
        if (at !== 1) return `nats://127.0.0.1:${port}`;
        proxy = await startChaosProxy({ target: { host: '127.0.0.1', port }, seed: 1 });
        return `nats://127.0.0.1:${proxy.port}`;
      };
      const cluster = await WstunCluster.start({ args: [], urlsFor });
      const secrets = [await cluster.invite('alice', { allow: ['*'] }, [1]), await cluster.invite('bob', {}, [1])];
      const [client] = await Promise.all(secrets.map((secret) => startClient(secret)));
      if (client === undefined) throw new Error('no client');
      const socket = await connectThrough('SOCKS5', client.port, target);
      const end = endOf(socket);
      proxy?.hold();
      await expect.poll(() => cluster.status(1), NOTICED).toMatchObject({ awaySince: expect.any(Number) });
      expect(await cluster.readiness(1)).toMatch(/^200 ready, but the cluster has been away for \d+ s/);
      // Longer than a relay that is heard may be silent.
      await expect.poll(() => cluster.secondsAway(1), BACK).toBeGreaterThan(16);
      expect(await cluster.status(1)).toMatchObject({ relays: 2 });
      await cluster.access.list.remove('alice');
      await carry(client, target);
      await startClient(secrets[1] ?? '');
      proxy?.release();
      expect(await end).toBe('reset');
      expect(await client.process.event('session-lost', 30_000)).toMatchObject({ code: 'WSTUN-E207' });
      await expect.poll(() => cluster.readiness(1), BACK).toBe('200 ready');
      expect(await cluster.status(0)).toMatchObject({ relays: 2 });
    },
  );

  it('a relay that hangs, and has the exit, too, delays no client at another relay by a second', LIMIT, async () => {
    const target = await tcpServer(echo);
    const cluster = await WstunCluster.start({ relays: 3 });
    const secret = await clientSecret(cluster, 2, [0, 1]);
    await carry(await startClient(secret), target);
    cluster.relay(0).process.signal('SIGSTOP');
    const times: number[] = [];
    for (let at = 0; at < 8; at++) {
      const start = performance.now();
      await spawnClient(secret).event('ready');
      times.push(performance.now() - start);
    }
    cluster.relay(0).process.signal('SIGCONT');
    if (process.env.FIGURES !== undefined) process.stdout.write(`until ready, ms: ${times.map(Math.round)}\n`);
    expect(Math.max(...times)).toBeLessThan(3_000);
  });
});

describe('NATS without a majority of its servers', () => {
  it(
    'relays say that nothing is stored, sessions and calls go on, and all is well again after that',
    LIMIT,
    async () => {
      const target = await tcpServer(echo);
      const cluster = await WstunCluster.start({ relays: 2, servers: 3 });
      const secret = await clientSecret(cluster, 1);
      const client = await startClient(secret);
      await carry(client, target);
      const [first, ...others] = cluster.servers;
      for (const server of others) await server.kill();
      await until(() => cluster.relays.every(({ process }) => isAt(process.stderr, first)), 20_000);
      expect(await cluster.invite('early').catch((error: unknown) => error)).toMatchObject({
        fault: 'cluster-away',
      });
      await carry(client, target);
      await carry(await startClient(secret), target);
      for (const at of [0, 1]) await expect.poll(() => cluster.readiness(at), BACK).toMatch(/^200 ready, but /);
      for (const server of others) await server.start();
      await leaderOf(cluster.servers);
      for (const at of [0, 1]) await expect.poll(() => cluster.readiness(at), BACK).toBe('200 ready');
      await cluster.invite('late');
    },
  );
});

/** The server that it has connected to last. */
function isAt(stderr: string, server: NatsServer | undefined): boolean {
  const found = [...stderr.matchAll(/"server":"127\.0\.0\.1:(\d+)"/g)];
  return found.at(-1)?.[1] === String(server?.ports.client);
}

describe('full disks of a cluster', () => {
  it(
    'a relay whose disk is full serves, follows the list, and can be started; with room it keeps the list again',
    LIMIT,
    async () => {
      const target = await tcpServer(echo);
      const disks: SmallDisk[] = [];
      const prepareState = async (path: string) => void disks.push(await mountSmallDisk(path, 1));
      const cluster = await WstunCluster.start({ relays: 2, args: [], prepareState });
      const secrets = [await cluster.invite('alice', { allow: ['*'] }), await cluster.invite('bob', { allow: ['*'] })];
      const [alice = '', bob = ''] = secrets;
      const client = await startClient(alice);
      await carry(client, target);
      const { state } = cluster.relay(0);
      const kept = () => readFile(join(state, 'cluster-access.toml'), 'utf8');
      await expect.poll(kept).toContain('[bob]');
      await disks[0]?.fill();
      await cluster.access.list.remove('bob');
      await until(() => cluster.relay(0).process.stderr.includes('the disk is full'), 20_000);
      await carry(client, target);
      await spawnClient(bob, { args: ['--once'] }).exited;
      await carry(await startClient(alice), target);
      // It has nothing to write that it needs.
      await cluster.relay(0).process.kill();
      await cluster.startRelay(0);
      await carry(await startClient(alice), target);
      await cluster.access.list.remove('alice');
      await disks[0]?.empty();
      await expect.poll(kept, BACK).not.toMatch(/\[(?:alice|bob)\]/);
    },
  );

  it('a NATS server whose disk is full holds up no session, and two others store what changes', LIMIT, async () => {
    const target = await tcpServer(echo);
    const disks: SmallDisk[] = [];
    const prepareStore = async (path: string) => void disks.push(await mountSmallDisk(path, 16));
    const cluster = await WstunCluster.start({ relays: 2, servers: 3, prepareStore });
    const secret = await clientSecret(cluster, 1);
    const client = await startClient(secret);
    // Version 2.9 of one that leads them all may hang, and then nothing is stored until it is stopped.
    const full = (await leaderOf(cluster.servers)) === 'n0' ? 1 : 0;
    await disks[full]?.fill();
    await cluster.access.list.add({ ...newEntry('late', LONG), key: createIdentity().public });
    await carry(client, target);
    await carry(await startClient(secret), target);
    await disks[full]?.empty();
    // A server that had no room stores nothing until it is started anew.
    await cluster.servers[full]?.kill();
    await cluster.servers[full]?.start();
    await leaderOf(cluster.servers);
    for (const { process } of cluster.relays) await until(() => process.stderr.includes('"entries":2'), 20_000);
    for (const at of [0, 1]) await expect.poll(() => cluster.readiness(at), BACK).toBe('200 ready');
  });

  it(
    'the only NATS server whose disk is full is as one that is away: relays say so, and what is known holds',
    LIMIT,
    async () => {
      const target = await tcpServer(echo);
      const disks: SmallDisk[] = [];
      const prepareStore = async (path: string) => void disks.push(await mountSmallDisk(path, 16));
      const cluster = await WstunCluster.start({ prepareStore });
      const secret = await clientSecret(cluster, 0);
      const client = await startClient(secret);
      await disks[0]?.fill();
      // Version 2.9 may answer nothing more, and takes connections all the same.
      expect(await cluster.invite('late', LONG).catch((error: unknown) => error)).toMatchObject({
        fault: 'cluster-away',
      });
      for (const at of [0, 1]) await expect.poll(() => cluster.readiness(at), BACK).toMatch(/^200 ready, but /);
      await carry(client, target);
      await carry(await startClient(secret), target);
      await disks[0]?.empty();
      await cluster.servers[0]?.kill();
      await cluster.servers[0]?.start();
      for (const at of [0, 1]) await expect.poll(() => cluster.readiness(at), BACK).toBe('200 ready');
      await cluster.invite('later');
    },
  );
});
