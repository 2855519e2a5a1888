/**
 * Three relays of a cluster and three NATS servers, of which some or all fail: what goes on, and what waits. With all of
 * them away for a minute, and five minutes of kills: WSTUN_LONG=1 npx vitest run test/e2e/cluster-failures.test.ts
 * @module-tag waits
 */
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { leaderOf } from '../support/programs/nats.ts';
import { WstunCluster } from '../support/programs/wstun-cluster.ts';
import { invite, type RunningClient, spawnClient, startClient, startExit } from '../support/programs/wstun-stack.ts';
import { carry } from '../support/proxy/carry.ts';
import { until } from '../support/until.ts';

const LIMIT = { timeout: 900_000 };
const IS_LONG = process.env.WSTUN_LONG !== undefined;
const AWAY_S = IS_LONG ? 60 : 18;
const CHAOS_MS = IS_LONG ? 300_000 : 20_000;
const EVERY_MS = 5_000;
/** Of each of four clients. */
const TRANSFERS = IS_LONG ? 8 : 2;

/** An exit that is registered at relay 0 alone. */
async function setUp() {
  const target = await tcpServer(echo);
  const cluster = await WstunCluster.start({ relays: 3, servers: 3 });
  const exit = await startExit({ invite: await cluster.invite('home', { role: 'exit' }, [0]) });
  /** Of a new client of that exit, whose keys all relays know when this resolves. */
  const secretOf = async (name: string, relay: number) => {
    const known = () => cluster.relay(0).process.stderr.split('exit announced its clients').length;
    const before = known();
    const secret = await invite(exit, name, { allow: ['127.0.0.1'], url: cluster.urlOf(relay) });
    await until(() => known() > before);
    return secret;
  };
  return { target, cluster, exit, secretOf };
}

/** One transfer after the other until `stop`; none may fail. */
function carryOn(client: RunningClient, target: number): { stop(): Promise<number> } {
  let isOver = false;
  const run = async (): Promise<number> => {
    let count = 0;
    for (; !isOver; count++) await carry(client, target);
    return count;
  };
  const running = run();
  running.catch(() => {});
  return {
    stop: () => {
      isOver = true;
      return running;
    },
  };
}

function lossesOf({ process }: RunningClient): readonly string[] {
  return process.events.map(({ event }) => event).filter((event) => event === 'session-lost' || event === 'lost');
}

describe('a cluster whose NATS servers fail', () => {
  it(
    'while one NATS server after the other is killed, sessions notice nothing, and new clients come in',
    LIMIT,
    async () => {
      const { target, cluster, secretOf } = await setUp();
      const [early, late] = [await secretOf('early', 2), await secretOf('late', 2)];
      const client = await startClient(early);
      const transfers = carryOn(client, target);
      for (const server of cluster.servers) {
        await server.kill();
        const another = await startClient(late);
        await carry(another, target);
        another.process.signal('SIGTERM');
        await another.process.exited;
        // A change waits for an election at most.
        await cluster.invite(`name${cluster.servers.indexOf(server)}`);
        await server.start();
        await server.whenHealthy();
      }
      expect(await transfers.stop()).toBeGreaterThan(0);
      expect(lossesOf(client)).toEqual([]);
      expect((await cluster.access.list.read()).map(({ name }) => name)).toEqual(['home', 'name0', 'name1', 'name2']);
    },
  );

  it(
    'while all NATS servers are away, what is known holds: sessions, clients, the list of a relay that starts',
    LIMIT,
    async () => {
      const { target, cluster, secretOf } = await setUp();
      const [here, there] = [await secretOf('here', 0), await secretOf('there', 2)];
      const session = await startClient(there);
      const transfers = carryOn(session, target);
      for (const server of cluster.servers) await server.kill();
      await until(() =>
        cluster.relays.every(({ process }) => process.stderr.includes('the connection to the cluster was lost')),
      );
      expect(await cluster.status(1)).toMatchObject({
        awaySince: expect.any(Number),
        fault: { code: 'WSTUN-E280' },
      });

      expect(await cluster.readiness(1)).toMatch(/^200 ready, but the cluster has been away for \d+ s \(WSTUN-E280\)$/);
      await carry(await startClient(here), target);
      const waiting = spawnClient(there);
      expect(await waiting.event('retrying')).toMatchObject({ code: 'WSTUN-E212' });
      const removal = cluster.access.list.remove('home').catch((error: unknown) => error);
      expect(await removal).toMatchObject({ fault: 'cluster-away' });

      await expect.poll(() => cluster.secondsAway(1), { timeout: 2 * AWAY_S * 1000 }).toBeGreaterThanOrEqual(AWAY_S);
      expect(lossesOf(session)).toEqual([]);
      // The exit and its clients come back to a relay that has never been connected since it was started.
      const before = await startClient(here);
      await cluster.relay(0).process.kill();
      await cluster.startRelay(0);
      await before.process.event('resumed', 30_000);
      await carry(before, target);
      expect(await cluster.status(0)).toMatchObject({ awaySince: expect.any(Number) });
      expect(await cluster.readiness(0)).toMatch(/^200 ready, but/);

      for (const server of cluster.servers) await server.start();
      await leaderOf(cluster.servers);
      await waiting.event('ready', 40_000);
      expect(await transfers.stop()).toBeGreaterThan(0);
      // The list can be changed again, and what is removed ends at once.
      await cluster.access.list.remove('home');
      expect(await before.process.event('retrying', 20_000)).toMatchObject({ code: expect.any(String) });
      await expect
        .poll(() => cluster.status(0), { timeout: 20_000 })
        .toMatchObject({
          connectedSince: expect.any(Number),
        });
      expect(await cluster.readiness(0)).toBe('200 ready');
    },
  );

  it(
    'while relays and NATS servers are killed in turn, no byte and no session of two exits is lost',
    LIMIT,
    async () => {
      const target = await tcpServer(echo);
      const cluster = await WstunCluster.start({ relays: 3, servers: 3 });
      const clients: RunningClient[] = [];
      for (const name of ['home', 'office']) {
        const exit = await startExit({ invite: await cluster.invite(name, { role: 'exit' }, [0, 1, 2]) });
        const secret = await invite(exit, 'alice', { allow: ['127.0.0.1'], sessions: '64' });
        clients.push(await startClient(secret), await startClient(secret));
      }
      const transfers = clients.flatMap((client) => Array.from({ length: TRANSFERS }, () => carryOn(client, target)));
      const end = performance.now() + CHAOS_MS;
      for (let round = 0; performance.now() < end; round++) {
        const next = performance.now() + EVERY_MS;
        const [relay, server] = [cluster.relay(round % 3), cluster.servers[round % 3]];
        await Promise.all([relay.process.kill(), server?.kill()]);
        await cluster.startRelay(round % 3);
        await server?.start();
        await setTimeout(Math.max(0, next - performance.now()));
      }
      const counts = await Promise.all(transfers.map((each) => each.stop()));
      if (process.env.FIGURES !== undefined) process.stdout.write(`transfers of 1 MiB each way: ${counts}\n`);
      expect(Math.min(...counts)).toBeGreaterThan(0);
      const lost = clients.flatMap(lossesOf).filter((event) => event === 'session-lost');
      expect(lost).toEqual([]);
    },
  );

  it('a relay whose NATS server hangs is with another one within ten seconds', LIMIT, async () => {
    const { target, cluster, secretOf } = await setUp();
    const secret = await secretOf('alice', 1);
    const hung = cluster.servers.find(({ ports }) =>
      cluster.relay(1).process.stderr.includes(`127.0.0.1:${ports.client}`),
    );
    hung?.signal('SIGSTOP');
    const start = performance.now();
    await until(() => cluster.relay(1).process.stderr.split('connected to the cluster').length > 2, 12_000);
    expect(performance.now() - start).toBeLessThan(12_000);
    await carry(await startClient(secret), target);
    hung?.signal('SIGCONT');
  });
});
