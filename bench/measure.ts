/**
 * One bench: the load, its target and all that is compared, started fresh for a group of cases. The subjects take turns
 * within each round, so that all of them meet the same weather on a shared machine.
 */
import type { LoadJob, LoadResult } from './load.ts';
import type { Node } from './nodes.ts';
import { findPeers, type Peer, startPeer } from './peers.ts';
import { benchFile, Program, type ProgramOptions } from './programs.ts';
import { type Placement, type Subject, startBehindRelay, startFloor, startForwarders, startWstun } from './subjects.ts';

const JOB_LIMIT_MS = 120_000;
/** Of another program, which may be slow or broken: it is left out then. */
const PEER_JOB_LIMIT_MS = 30_000;

export interface Settings {
  readonly rounds: number;
  readonly quick: boolean;
  /** Idle sessions at once; undefined: as many as \`quick\` says. */
  readonly sessions: number | undefined;
  /** These are at the workers of one relay. */
  readonly workers: boolean;
  /** The load goes to the forwarders without SOCKS5. */
  readonly straight: boolean;
  /** What `wstun` is: the file to run. */
  readonly wstun: string;
  /** Another build of wstun to stand in the place of the forwarders. */
  readonly against: string | undefined;
  readonly nodes: readonly Node[];
  readonly peers: boolean;
  /** Takes what a reader of the figures must know beside them. */
  readonly note: (text: string) => void;
}

/** Who takes part in a group, beside the baseline and wstun. */
export interface Cast {
  /** Beside the forwarders, or in their place. */
  readonly floor?: 'beside' | 'baseline';
  /** Where it is another build of wstun. */
  readonly baselineName?: string;
  readonly peers?: boolean;
  readonly behindRelay?: boolean;
  /** For the subjects. */
  readonly options?: ProgramOptions;
}

/** CPU time that a run cost, s. */
export interface Cost {
  /** Of each of the subject's programs, the one near the load first. */
  readonly programs: readonly number[];
  /** Generator and target: the same work for all subjects. */
  readonly load: number;
}

export interface Run {
  readonly result: LoadResult;
  readonly cost: Cost;
}

export type Job = Pick<LoadJob, 'mode' | 'amount' | 'streams'>;

/** What is judged, and what it is judged by. */
export interface LinkRace {
  readonly subject: Subject;
  readonly baseline: Subject;
  readonly floor: Subject | undefined;
  /** What wstun runs on; undefined for another program. */
  readonly node: Node | undefined;
}

/** By subject; one that failed is not there. */
export type Runs = ReadonlyMap<Subject, readonly Run[]>;

export class Bench {
  readonly contests: LinkRace[] = [];
  private readonly settings: Settings;
  private readonly cast: Cast;
  private readonly target: Program;
  private readonly port: number;
  private load = startLoad();

  private constructor(settings: Settings, cast: Cast, target: Program, port: number) {
    this.settings = settings;
    this.cast = cast;
    this.target = target;
    this.port = port;
  }

  static async start(settings: Settings, cast: Cast = {}): Promise<Bench> {
    const target = Program.start('target', benchFile('target.js'), []);
    const { port } = await target.ready<{ port: number }>();
    const bench = new Bench(settings, cast, target, port);
    await bench.startSubjects();
    return bench;
  }

  async stop(): Promise<void> {
    await this.load.stop();
    for (const subject of this.subjects) await subject.stop();
    await this.target.stop();
  }

  /** Each once. */
  get subjects(): Subject[] {
    return [...new Set(this.contests.flatMap(({ baseline, floor, subject }) => [baseline, floor ?? subject, subject]))];
  }

  private async startSubjects(): Promise<void> {
    const { against, nodes, straight } = this.settings;
    const wantsForwarders = against === undefined && this.cast.floor !== 'baseline';
    const forwarders = wantsForwarders ? await startForwarders(this.place('forwarders'), straight) : undefined;
    for (const node of nodes) await this.addNode(node, forwarders);
    if (forwarders && this.cast.peers)
      for (const peer of findPeers(this.settings)) await this.addPeer(peer, forwarders);
  }

  private async addNode(node: Node, forwarders: Subject | undefined): Promise<void> {
    const { against, wstun } = this.settings;
    const { floor: place, baselineName = 'against', behindRelay } = this.cast;
    const floor = place && against === undefined ? await startFloor(this.place('floor', node)) : undefined;
    const baseline = forwarders ?? floor ?? (await startWstun(this.place(baselineName, node), against ?? wstun));
    const subject = await startWstun(this.place('wstun', node), wstun);
    this.contests.push({ node, subject, baseline, floor: floor === baseline ? undefined : floor });
    if (!behindRelay) return;
    const other = await startBehindRelay(this.place('wstun, named exit', node), wstun);
    this.contests.push({ node, subject: other, baseline, floor: undefined });
  }

  private place(name: string, node?: Node): Placement {
    const program = node && { program: node.program };
    return { name: name + (node?.suffix ?? ''), target: this.port, options: { ...this.cast.options, ...program } };
  }

  private async addPeer(peer: Peer, baseline: Subject): Promise<void> {
    const subject = await startPeer(peer, this.port).catch((error: unknown) => {
      this.settings.note(`${peer.name} did not start: ${String(error)}`);
    });
    if (!subject) return;
    if (!subject.halfCloses) this.settings.note(`${peer.name}: no uploads, it has no half-close`);
    this.contests.push({ subject, baseline, floor: undefined, node: undefined });
  }

  private isPeer(subject: Subject): boolean {
    return this.contests.some((contest) => contest.subject === subject && contest.node === undefined);
  }

  async run(subject: Subject, job: Job): Promise<Run> {
    const { via, target } = subject;
    const before = this.spent(subject);
    const limit = this.isPeer(subject) ? PEER_JOB_LIMIT_MS : JOB_LIMIT_MS;
    const result = await this.load.ask<LoadResult>({ ...job, via, target }, limit).catch((error: unknown) => {
      throw new Error(`${subject.name}: ${error instanceof Error ? error.message : String(error)}`);
    });
    const after = this.spent(subject);
    const programs = after.programs.map((seconds, i) => seconds - (before.programs[i] ?? 0));
    return { result, cost: { programs, load: after.load - before.load } };
  }

  private spent({ programs }: Subject): Cost {
    return {
      programs: programs.map(({ cpuSeconds }) => cpuSeconds),
      load: this.load.cpuSeconds + this.target.cpuSeconds,
    };
  }

  /** One run of each that does not count, then `rounds` of them; who goes first changes from round to round. */
  async alternate(rounds: number, job: Job): Promise<Runs> {
    const runs = new Map<Subject, Run[]>();
    for (const subject of this.subjects) if (job.mode !== 'up' || subject.halfCloses) runs.set(subject, []);
    for (let round = -1; round < rounds; round++) {
      const subjects = [...runs.keys()];
      const first = (round + 1) % subjects.length;
      for (const subject of [...subjects.slice(first), ...subjects.slice(0, first)]) {
        const run = await this.run(subject, job).catch((error: unknown) => this.giveUp(subject, job, error));
        if (!run) runs.delete(subject);
        else if (round >= 0) runs.get(subject)?.push(run);
      }
    }
    return runs;
  }

  /** Another program may fail; what is measured beside it does not suffer. */
  private async giveUp(subject: Subject, { mode, streams }: Job, error: unknown): Promise<undefined> {
    if (!this.isPeer(subject)) throw error;
    this.settings.note(
      `failed at ${mode}, ${streams} at a time: ${error instanceof Error ? error.message : String(error)}`,
    );
    await this.load.kill();
    this.load = startLoad();
  }
}

function startLoad(): Program {
  return Program.start('load', benchFile('load.js'), []);
}
