/** NATS servers with JetStream, alone or as a cluster of three: each can be killed, frozen, and started again. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect } from 'vitest';
import { atEnd } from '../scope.ts';
import { tempDir } from '../temp-dir.ts';
import { until } from '../until.ts';
import { freePort, spawnBound } from './programs.ts';

/** An election takes up to 9 s, and a server that is started while another one starts waits for it. */
const READY_MS = 30_000;

interface Ports {
  readonly client: number;
  readonly monitor: number;
  readonly route: number;
}

export class NatsServer {
  private child: ChildProcess | undefined;

  constructor(
    private readonly args: readonly string[],
    readonly ports: Ports,
  ) {
    atEnd(() => this.kill());
  }

  get url(): string {
    return `nats://127.0.0.1:${this.ports.client}`;
  }

  async start(): Promise<void> {
    const child = spawnBound('nats-server', this.args);
    child.stderr?.resume();
    this.child = child;
    let open = false;
    await until(() => {
      if (child.exitCode !== null) throw new Error(`nats-server ended with ${child.exitCode}`);
      const probe = connect(this.ports.client, '127.0.0.1', () => {
        open = true;
        probe.destroy();
      });
      probe.on('error', () => {});
      return open;
    }, 10_000);
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    const { child } = this;
    this.child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    child.kill('SIGKILL');
    await closed;
  }

  signal(signal: NodeJS.Signals): void {
    this.child?.kill(signal);
  }

  /** It has all that was written while it was away: one killed before that leaves the others without a majority. */
  async whenHealthy(): Promise<void> {
    await expect
      .poll(() => this.monitor('healthz').catch(String), { timeout: READY_MS })
      .toMatchObject({ status: 'ok' });
  }

  /** A page of its monitoring, such as `varz`. */
  async monitor(page: string): Promise<Readonly<Record<string, unknown>>> {
    const answer = await fetch(`http://127.0.0.1:${this.ports.monitor}/${page}`);
    return (await answer.json()) as Record<string, unknown>;
  }
}

export interface NatsOptions {
  /** Beside those that each has. */
  readonly args?: readonly string[];
  readonly jetstream?: boolean;
  /** Is handed the directory of each server's store, which is not there yet. */
  readonly prepareStore?: ((path: string, at: number) => Promise<void>) | undefined;
}

/** One, or as many as are to be a cluster; resolves when JetStream answers. */
export async function startNats(count = 1, options: NatsOptions = {}): Promise<NatsServer[]> {
  for (let left = 3; ; left--) {
    try {
      return await startOnce(count, options);
    } catch (error) {
      // Somebody has taken one of the ports meanwhile.
      if (left === 0) throw error;
    }
  }
}

async function startOnce(
  count: number,
  { args = [], jetstream = true, prepareStore }: NatsOptions,
): Promise<NatsServer[]> {
  const ports: Ports[] = [];
  for (let at = 0; at < count; at++)
    ports.push({ client: await freePort(), monitor: await freePort(), route: await freePort() });
  const routes = ports.map(({ route }) => `nats://127.0.0.1:${route}`).join(',');
  const servers: NatsServer[] = [];
  for (const [at, { client, monitor, route }] of ports.entries()) {
    const path = join(await tempDir(), 'store');
    await prepareStore?.(path, at);
    const store = jetstream ? ['-js', '-sd', path] : [];
    const cluster =
      count === 1 ? [] : ['--cluster_name', 'test', '--cluster', `nats://127.0.0.1:${route}`, '--routes', routes];
    const own = ['-n', `n${at}`, '-a', '127.0.0.1', '-p', String(client), '-m', String(monitor)];
    servers.push(new NatsServer([...own, ...store, ...cluster, ...args], { client, monitor, route }));
  }
  await Promise.all(servers.map((server) => server.start()));
  if (count > 1 && jetstream) await leaderOf(servers);
  return servers;
}

/** The name of the leader of JetStream, once the cluster has one. */
export async function leaderOf(servers: readonly NatsServer[]): Promise<string> {
  const deadline = Date.now() + READY_MS;
  for (;;) {
    for (const server of servers) {
      const { meta_cluster: meta } = await server.monitor('jsz').catch(() => ({ meta_cluster: undefined }));
      const { leader, cluster_size: size } = (meta ?? {}) as {
        readonly leader?: string;
        readonly cluster_size?: number;
      };
      if (leader !== undefined && leader !== '' && size === servers.length) return leader;
    }
    if (Date.now() > deadline) throw new Error('JetStream has no leader');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** For `--cluster`. */
export function urlsOf(servers: readonly NatsServer[]): string {
  return servers.map(({ url }) => url).join(',');
}
