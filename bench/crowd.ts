/**
 * A hundred thousand idle sessions: what they cost all relays and exits together, how long a few active ones among them
 * wait, and how they come back when all relays die at once.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { CrowdHosts, type HostOptions, SESSIONS_OF_CLIENT } from './crowd-hosts.ts';
import type { ClientsRequest, EchoAnswer, ReturnedAnswer } from './lean-clients.ts';
import type { Settings } from './measure.ts';
import { benchFile, Program } from './programs.ts';

/** One in so many is active, at most ACTIVE. */
const ACTIVE_SHARE = 100;
const ACTIVE = 1_000;
/** Of the processes that hold sessions, each from an address of its own. */
const SESSIONS_OF_PROCESS = 18_000;
const BEGIN_AT_ONCE = 48;
const ECHO_INTERVAL_MS = 1_000;
/** Three pings, after which nothing of the beginning is left. */
const SETTLE_MS = 45_000;
const QUIET_MS = 30_000;
const QUICK_MS = 5_000;
const BEGIN_LIMIT_MS = 900_000;
const RETURN_LIMIT_MS = 180_000;
const ANSWER_LIMIT_MS = 30_000;

export interface CrowdShape extends Pick<HostOptions, 'relays' | 'workers' | 'named'> {
  readonly sessions: number;
}

export interface CrowdMeasured {
  /** Bytes: without sessions, with all, and when all were back. */
  readonly empty: number;
  readonly idle: number;
  readonly afterwards: number;
  /** Cores in use while all are idle. */
  readonly idleCores: { readonly hosts: number; readonly load: number };
  readonly begin: { readonly perSecond: number; readonly hosts: number; readonly load: number };
  readonly echo: EchoAnswer;
  readonly storm: Storm;
}

export interface Storm {
  /** From the death of the relays until the last session was back; undefined where some were not. */
  readonly seconds: number;
  readonly up: number;
  readonly milliseconds: readonly number[];
  readonly attempts: ReadonlyMap<string, number>;
  /** CPU time, s. */
  readonly hosts: number;
  readonly load: number;
}

/** Takes part in one measurement. */
class Crowd {
  private constructor(
    private readonly hosts: CrowdHosts,
    private readonly target: Program,
    private readonly port: number,
    /** The first one has the active sessions. */
    private readonly holders: readonly Program[],
    private readonly shares: readonly (readonly string[])[],
  ) {}

  static async start({ wstun, nodes }: Settings, { sessions, ...shape }: CrowdShape): Promise<Crowd> {
    const clients = Math.ceil(sessions / SESSIONS_OF_CLIENT);
    const program = nodes[0]?.program ?? process.execPath;
    const hosts = await CrowdHosts.start({ wstun, program, clients, ...shape });
    const target = Program.start('target', benchFile('target.js'), []);
    const { port } = await target.ready<{ port: number }>();
    const shares = shareOut(hosts.invites, Math.min(ACTIVE, sessions / ACTIVE_SHARE) / SESSIONS_OF_CLIENT);
    const holders = shares.map(() => Program.start('clients', benchFile('lean-clients.js'), []));
    return new Crowd(hosts, target, port, holders, shares);
  }

  async measure(quick: boolean): Promise<CrowdMeasured> {
    const { hosts } = this;
    const pause = (ms: number) => delay(quick ? QUICK_MS : ms);
    await pause(QUICK_MS);
    const empty = hosts.memory;
    const begin = await this.begin();
    await pause(SETTLE_MS);
    const before = this.spent();
    await pause(QUIET_MS);
    const seconds = (performance.now() - before.at) / 1000;
    const after = this.spent();
    const idleCores = { hosts: (after.hosts - before.hosts) / seconds, load: (after.load - before.load) / seconds };
    const idle = hosts.memory;
    const echo = await this.echo(quick ? 5 : 30);
    const storm = await this.storm();
    await pause(SETTLE_MS);
    return { empty, idle, afterwards: hosts.memory, idleCores, begin, echo, storm };
  }

  async stop(): Promise<void> {
    await Promise.all(this.holders.map((holder) => holder.kill()));
    await this.hosts.stop();
    await this.target.stop();
  }

  private spent(): { at: number; hosts: number; load: number } {
    const load = [...this.holders, this.target].reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0);
    return { at: performance.now(), hosts: this.hosts.cpuSeconds, load };
  }

  private ask<T>(holder: Program, request: ClientsRequest, limitMs = ANSWER_LIMIT_MS): Promise<T> {
    return holder.ask<T>(request, limitMs);
  }

  private async begin(): Promise<CrowdMeasured['begin']> {
    const before = this.spent();
    await Promise.all(
      this.holders.map((holder, i) => {
        const from = { source: `127.0.1.${i + 1}`, atOnce: BEGIN_AT_ONCE, perInvite: SESSIONS_OF_CLIENT };
        return this.ask(holder, { do: 'begin', invites: this.shares[i] ?? [], ...from }, BEGIN_LIMIT_MS);
      }),
    );
    const after = this.spent();
    const count = this.shares.flat().length * SESSIONS_OF_CLIENT;
    const perSecond = count / ((after.at - before.at) / 1000);
    return { perSecond, hosts: after.hosts - before.hosts, load: after.load - before.load };
  }

  private async echo(seconds: number): Promise<EchoAnswer> {
    const [active] = this.holders;
    if (active === undefined) throw new Error('nobody is active');
    const request = { do: 'echo', target: this.port, seconds, intervalMs: ECHO_INTERVAL_MS } as const;
    return await this.ask(active, request, seconds * 1000 + ANSWER_LIMIT_MS);
  }

  private async storm(): Promise<Storm> {
    for (const holder of this.holders) await this.ask(holder, { do: 'mark' });
    const exits = this.hosts.exitSeconds;
    const { load } = this.spent();
    const killedAt = Date.now();
    await this.hosts.killRelays();
    const limitMs = RETURN_LIMIT_MS;
    const answers = await Promise.all(
      this.holders.map((holder) =>
        this.ask<ReturnedAnswer>(holder, { do: 'returned', limitMs }, limitMs + ANSWER_LIMIT_MS),
      ),
    );
    const after = this.spent();
    const attempts = new Map<string, number>();
    for (const [why, count] of answers.flatMap((answer) => Object.entries(answer.attempts)))
      attempts.set(why, (attempts.get(why) ?? 0) + count);
    const up = answers.reduce((sum, answer) => sum + answer.up, 0);
    const all = answers.reduce((sum, answer) => sum + answer.of, 0);
    const lastAt = Math.max(...answers.map((answer) => answer.lastAt));
    return {
      seconds: up === all ? (lastAt - killedAt) / 1000 : Number.POSITIVE_INFINITY,
      ...{ up, milliseconds: answers.flatMap((answer) => answer.milliseconds), attempts },
      ...{ hosts: after.hosts - exits, load: after.load - load },
    };
  }
}

/** The active ones first, the same number of each relay; then as many as a process can hold. */
function shareOut(invites: readonly (readonly string[])[], activeClients: number): string[][] {
  const each = Math.max(1, Math.round(activeClients / invites.length));
  const active = invites.flatMap((ofRelay) => ofRelay.slice(0, each));
  const idle = invites.flatMap((ofRelay) => ofRelay.slice(each));
  const most = SESSIONS_OF_PROCESS / SESSIONS_OF_CLIENT;
  const processes = Math.ceil(idle.length / most);
  const size = Math.ceil(idle.length / processes);
  return [active, ...Array.from({ length: processes }, (_, i) => idle.slice(i * size, (i + 1) * size))];
}

/** By proc(5): the limit of descriptors of this process, which its children have, too. */
export function descriptorLimit(): number {
  return Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]);
}

export async function runCrowd(settings: Settings, shape: CrowdShape): Promise<CrowdMeasured> {
  const crowd = await Crowd.start(settings, shape);
  try {
    return await crowd.measure(settings.quick);
  } finally {
    await crowd.stop();
  }
}
