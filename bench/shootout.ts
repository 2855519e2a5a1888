/**
 * The shootout of WebSocket servers (hashrocket/websocket-shootout), as a ratio: how many clients one server can have
 * until the slowest twentieth of them waits for half a second, reached directly and through tunnels.
 */
import type { Settings } from './measure.ts';
import { findPeers, startPeer } from './peers.ts';
import { benchFile, Program } from './programs.ts';
import type { Row } from './report.ts';
import type { ShootoutAnswer, ShootoutRequest } from './shootout-load.ts';
import { type Contestant, startContestant } from './shootout-tunnel.ts';

type Mode = 'echo' | 'broadcast';

/** Until the slowest of twenty waits for so long, ms. */
const LIMIT_MS = 500;
/** Clients: each step has a third more. */
const FIRST_STEP = 100;
const STEP_FACTOR = 4 / 3;
/** As many as the server, the load or a relay can have sockets, with room for other files. */
const MOST_CLIENTS = 12_000;
const QUICK_MOST = 2_000;
const ECHO_MS = 2_000;
const QUICK_ECHO_MS = 1_000;
/** As the shootout does: samples of a step, and how many of them at once. */
const SAMPLES = 100;
const QUICK_SAMPLES = 40;
const AT_ONCE = 10;
/** For all samples of a step: beyond, no more begin. */
const STEP_LIMIT_MS = 30_000;
const ANSWER_LIMIT_MS = 120_000;

/** Of one climb. */
interface Climb {
  /** Clients at which p95 is LIMIT_MS, between two steps; as many as there may be where it never was. */
  readonly clients: number;
  /** Round trips at the last step below the limit, or messages that broadcasts have delivered there. */
  readonly perSecond: number;
  /** What the load used of one core there. */
  readonly loadShare: number;
  readonly isBounded: boolean;
}

interface Step extends ShootoutAnswer {
  readonly clients: number;
}

class Shootout {
  private climbs = 0;

  private constructor(
    private readonly settings: Settings,
    private readonly server: Program,
    readonly contestants: readonly Contestant[],
  ) {}

  static async start(settings: Settings): Promise<Shootout> {
    const server = Program.start('server', benchFile('shootout-server.js'), []);
    const { port } = await server.ready<{ port: number }>();
    const contestants: Contestant[] = [directTo(port)];
    for (const node of settings.nodes) contestants.push(await startContestant(settings, node, port));
    for (const peer of settings.peers ? findPeers(settings) : []) {
      const subject = await startPeer(peer, port).catch((error: unknown) => {
        settings.note(`${peer.name} did not start: ${String(error)}`);
      });
      if (subject) contestants.push(ofSubject(subject));
    }
    return new Shootout(settings, server, contestants);
  }

  async stop(): Promise<void> {
    for (const contestant of this.contestants) await contestant.stop();
    await this.server.stop();
  }

  /** By contestant, one a round. */
  async alternate(mode: Mode): Promise<Map<Contestant, Climb[]>> {
    const climbs = new Map<Contestant, Climb[]>(this.contestants.map((contestant) => [contestant, []]));
    for (let round = 0; round < Math.ceil(this.settings.rounds / 2); round++) {
      const all = [...climbs.keys()];
      const first = round % all.length;
      for (const contestant of [...all.slice(first), ...all.slice(0, first)]) {
        const climb = await this.climb(contestant, mode).catch((error: unknown) =>
          this.giveUp(contestant, mode, error),
        );
        if (climb) climbs.get(contestant)?.push(climb);
        else climbs.delete(contestant);
      }
    }
    return climbs;
  }

  /** Another program may fail; what is measured beside it does not suffer. */
  private giveUp({ name, isPeer }: Contestant, mode: Mode, error: unknown): undefined {
    if (!isPeer) throw error;
    this.settings.note(`${name} failed at ${mode}: ${error instanceof Error ? error.message : String(error)}`);
  }

  private async climb(contestant: Contestant, mode: Mode): Promise<Climb> {
    // Anew: no port of an earlier one is still in use.
    this.climbs += 1;
    const source = `127.0.2.${1 + (this.climbs % 250)}`;
    const load = Program.start('load', benchFile('shootout-load.js'), []);
    const most = Math.min(contestant.most, this.settings.quick ? QUICK_MOST : MOST_CLIENTS);
    try {
      let before: Step | undefined;
      for (let count = FIRST_STEP; ; count = Math.min(most, Math.ceil(count * STEP_FACTOR))) {
        await this.grow(load, contestant, source, before?.clients ?? 0, count);
        const step = { clients: count, ...(await this.step(load, mode)) };
        if (step.p95 > LIMIT_MS || count === most) return climbOf(mode, before, step);
        before = step;
      }
    } finally {
      await load.kill();
    }
  }

  private async grow(load: Program, contestant: Contestant, source: string, from: number, to: number): Promise<void> {
    for (let count = from; count < to; ) {
      const { via, room } = await contestant.wayFor(count);
      const more = Math.min(room, to - count);
      await this.ask(load, { do: 'grow', count: more, via, target: contestant.target, source });
      count += more;
    }
  }

  private async step(load: Program, mode: Mode): Promise<ShootoutAnswer> {
    const { quick } = this.settings;
    if (mode === 'echo') return await this.ask(load, { do: 'echo', ms: quick ? QUICK_ECHO_MS : ECHO_MS });
    const samples = quick ? QUICK_SAMPLES : SAMPLES;
    return await this.ask(load, { do: 'broadcast', samples, atOnce: AT_ONCE, limitMs: STEP_LIMIT_MS });
  }

  private ask(load: Program, request: ShootoutRequest): Promise<ShootoutAnswer> {
    return load.ask<ShootoutAnswer>(request, ANSWER_LIMIT_MS);
  }
}

/** @param last beyond the limit, or as many as there may be */
function climbOf(mode: Mode, before: Step | undefined, last: Step): Climb {
  const isBounded = last.p95 <= LIMIT_MS;
  const good = isBounded || before === undefined ? last : before;
  return {
    clients: clientsAtLimit(before, last),
    perSecond: good.perSecond * (mode === 'echo' ? 1 : good.clients),
    loadShare: good.cpu / good.seconds,
    isBounded,
  };
}

/** On the line through two steps. Where the first one was too many, on that to none. */
function clientsAtLimit(before: Step | undefined, last: Step): number {
  if (last.p95 <= LIMIT_MS) return last.clients;
  const from = before ?? { clients: 0, p95: 0 };
  return from.clients + ((LIMIT_MS - from.p95) / (last.p95 - from.p95)) * (last.clients - from.clients);
}

function directTo(target: number): Contestant {
  const wayFor = () => Promise.resolve({ via: 0, room: MOST_CLIENTS });
  return {
    name: 'direct',
    node: undefined,
    isPeer: false,
    target,
    most: MOST_CLIENTS,
    wayFor,
    stop: () => Promise.resolve(),
  };
}

function ofSubject({ name, via, target, stop }: Awaited<ReturnType<typeof startPeer>>): Contestant {
  const wayFor = () => Promise.resolve({ via, room: MOST_CLIENTS });
  return { name, node: undefined, isPeer: true, target, most: MOST_CLIENTS, wayFor, stop };
}

export async function measureShootout(settings: Settings): Promise<Row[]> {
  const shootout = await Shootout.start(settings);
  try {
    const rows: Row[] = [];
    for (const mode of ['echo', 'broadcast'] as const)
      rows.push(...rowsOf(mode, await shootout.alternate(mode), settings));
    return rows;
  } finally {
    await shootout.stop();
  }
}

function rowsOf(mode: Mode, climbs: ReadonlyMap<Contestant, readonly Climb[]>, { note }: Settings): Row[] {
  const [direct, ...tunnels] = climbs;
  if (direct === undefined) return [];
  for (const [{ name }, ofName] of climbs)
    if (ofName.some(({ isBounded }) => isBounded))
      note(`${mode}, ${name}: p95 was below ${LIMIT_MS} ms with all clients`);
  return tunnels.flatMap(([{ name, node }, ofTunnel]) => {
    const row = (what: string, unit: string, of: (climb: Climb) => number, more: Partial<Row> = {}): Row => ({
      ...{ name: `${mode}: ${what}`, subject: name, suffix: node?.suffix ?? '', unit, better: 'higher' },
      ...{ baselineName: 'direct', baseline: direct[1].map(of), measured: ofTunnel.map(of), aims: [], ...more },
    });
    return [
      row(`clients at p95 = ${LIMIT_MS} ms`, '', ({ clients }) => clients),
      row(mode === 'echo' ? 'round trips' : 'deliveries', '/s', ({ perSecond }) => perSecond),
      row('load', 'cores', ({ loadShare }) => loadShare, { better: 'lower', detail: true }),
    ];
  });
}
