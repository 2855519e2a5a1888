/** Relays of a cluster as processes, with NATS servers, and what `wstun access … --cluster` does, in this process. */
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type OpenClusterAccess, openClusterAccess } from '../../../src/app/cluster-access.ts';
import { findIssuer, inviteNewPeer, newEntry } from '../../../src/app/invites.ts';
import { parseLimitOptions } from '../../../src/state/access-limits.ts';
import { loadOrCreateIdentity } from '../../../src/state/identity-file.ts';
import { openStateDir } from '../../../src/state/state-dir.ts';
import { atEnd } from '../scope.ts';
import { tempDir } from '../temp-dir.ts';
import { until } from '../until.ts';
import { type NatsServer, startNats, urlsOf } from './nats.ts';
import { freePort } from './programs.ts';
import { wstun } from './wstun-process.ts';
import { type InviteOptions, type RunningRelay, startRelay } from './wstun-stack.ts';

export interface ClusterOptions {
  readonly relays?: number;
  readonly servers?: number;
  readonly args?: readonly string[];
  /** Is handed each relay's state directory, which is not there yet. */
  readonly prepareState?: (path: string, at: number) => Promise<void>;
  /** Of NATS servers. */
  readonly prepareStore?: (path: string, at: number) => Promise<void>;
  /** For `--cluster` of a relay. Default: the URLs of all servers. */
  readonly urlsFor?: (at: number, servers: readonly NatsServer[]) => Promise<string>;
}

interface ClusterStatus {
  readonly connectedSince?: number;
  readonly awaySince?: number;
  readonly relays: number;
  readonly fault?: { readonly code: string };
}

export class WstunCluster {
  readonly relays: RunningRelay[] = [];

  private constructor(
    readonly servers: readonly NatsServer[],
    readonly access: OpenClusterAccess,
    private readonly states: readonly string[],
    private readonly ports: readonly number[],
    private readonly args: readonly string[],
    private readonly urls: readonly string[],
  ) {}

  /** All have the keys of the first one. */
  static async start(options: ClusterOptions = {}): Promise<WstunCluster> {
    const { relays = 2, servers = 1, args = ['--no-exit'], prepareState, prepareStore, urlsFor } = options;
    const nats = await startNats(servers, { prepareStore });
    const urls: string[] = [];
    const states: string[] = [];
    const ports: number[] = [];
    for (let at = 0; at < relays; at++) {
      const state = join(await tempDir(), 'state');
      if (prepareState === undefined) await mkdir(state, { mode: 0o700 });
      else await prepareState(state, at);
      if (at === 0) await loadOrCreateIdentity(await openStateDir(state));
      else await copyFile(join(states[0] ?? '', 'identity.key'), join(state, 'identity.key'));
      states.push(state);
      ports.push(await freePort());
      urls.push((await urlsFor?.(at, nats)) ?? urlsOf(nats));
    }
    const access = await openClusterAccess({ servers: [urlsOf(nats)] });
    atEnd(() => access.close());
    const cluster = new WstunCluster(nats, access, states, ports, args, urls);
    for (let at = 0; at < relays; at++) await cluster.startRelay(at);
    return cluster;
  }

  /** Again, after it was killed. */
  async startRelay(at: number): Promise<RunningRelay> {
    const [port = 0, state = ''] = [this.ports[at], this.states[at]];
    const own = ['--url', this.urlOf(at), '--cluster-url', this.urlOf(at), '--admin', '127.0.0.1:0'];
    const args = [...this.args, ...own, '--cluster', this.urls[at] ?? '', '-v'];
    const relay = await startRelay({ port, state, args });
    this.relays[at] = relay;
    return relay;
  }

  /** Of that relay alone. */
  urlOf(at: number): string {
    const scheme = this.args.includes('--tls-cert') ? 'wss' : 'ws';
    return `${scheme}://127.0.0.1:${this.ports[at]}`;
  }

  relay(at: number): RunningRelay {
    const relay = this.relays[at];
    if (relay === undefined) throw new RangeError(`there is no relay ${at}`);
    return relay;
  }

  /** What its /readyz answers. */
  async readiness(at: number): Promise<string> {
    const answer = await fetch(`http://${this.relay(at).admin}/readyz`);
    return `${answer.status} ${(await answer.text()).trim()}`;
  }

  /** For how long its /readyz says that NATS has been away, s; NaN: it does not. */
  async secondsAway(at: number): Promise<number> {
    return Number(/away for (\d+) s/.exec(await this.readiness(at))?.[1]);
  }

  /** What `wstun status` says of the cluster. */
  async status(at: number): Promise<ClusterStatus> {
    const { stdout } = await wstun(['status', '--json', '--state', this.relay(at).state]);
    return JSON.parse(stdout).cluster as ClusterStatus;
  }

  /** Of a new name, which all relays know when this resolves. @param at the relays that the invite leads to */
  async invite(name: string, { role, allow, listen, ...limits }: InviteOptions = {}, at = [0]): Promise<string> {
    const urls = at.map((each) => this.urlOf(each));
    const issuer = await findIssuer(await openStateDir(this.states[0] ?? ''), urls, loadOrCreateIdentity);
    if (issuer === undefined) throw new Error('no URL is known');
    const entry = newEntry(name, { role, allow, listen, limits: parseLimitOptions(limits) });
    const running = this.relays.filter(({ process }) => process.isRunning);
    const reloads = () => running.map(({ process }) => process.stderr.split('access list reloaded').length);
    const before = reloads();
    const secret = await inviteNewPeer(this.access.list, issuer, entry);
    await until(() => reloads().every((count, relay) => count > (before[relay] ?? 0)));
    return secret;
  }
}
