/**
 * One bench: the load, its target and the two subjects, started fresh for a group of cases. The subjects take turns within
 * each round, so that both meet the same weather on a shared machine.
 */
import type { LoadJob, LoadResult } from './load.ts';
import { benchFile, Program, type ProgramOptions } from './programs.ts';
import { type Subject, startForwarders, startWstun } from './subjects.ts';

const JOB_LIMIT_MS = 120_000;

export interface Settings {
  readonly rounds: number;
  readonly quick: boolean;
  /** The load goes to the forwarders without SOCKS5. */
  readonly straight: boolean;
  /** What `wstun` is: the file to run. */
  readonly wstun: string;
  /** Another build of wstun to stand in the place of the forwarders. */
  readonly against: string | undefined;
}

/** CPU time that a run cost, s. */
export interface Cost {
  readonly near: number;
  readonly far: number;
  /** Generator and target: the same work for both subjects. */
  readonly load: number;
}

export interface Run {
  readonly result: LoadResult;
  readonly cost: Cost;
}

export type Job = Pick<LoadJob, 'mode' | 'amount' | 'streams'>;

export class Bench {
  readonly baseline: Subject;
  readonly wstun: Subject;
  private readonly load: Program;
  private readonly target: Program;

  private constructor(load: Program, target: Program, baseline: Subject, wstun: Subject) {
    this.load = load;
    this.target = target;
    this.baseline = baseline;
    this.wstun = wstun;
  }

  static async start(settings: Settings, options: ProgramOptions = {}): Promise<Bench> {
    const target = Program.start('target', benchFile('target.js'), []);
    const { port } = await target.ready<{ port: number }>();
    const load = Program.start('load', benchFile('load.js'), []);
    const baseline =
      settings.against === undefined
        ? await startForwarders(port, settings.straight, options)
        : await startWstun(settings.against, port, options);
    return new Bench(load, target, baseline, await startWstun(settings.wstun, port, options));
  }

  async stop(): Promise<void> {
    await this.load.stop();
    await this.baseline.stop();
    await this.wstun.stop();
    await this.target.stop();
  }

  async run(subject: Subject, job: Job): Promise<Run> {
    const { via, target } = subject;
    const before = this.spent(subject);
    const result = await this.load.ask<LoadResult>({ ...job, via, target }, JOB_LIMIT_MS);
    const after = this.spent(subject);
    const cost = { near: after.near - before.near, far: after.far - before.far, load: after.load - before.load };
    return { result, cost };
  }

  private spent({ programs: [near, far] }: Subject): Cost {
    return { near: near.cpuSeconds, far: far.cpuSeconds, load: this.load.cpuSeconds + this.target.cpuSeconds };
  }

  /** One run of each that does not count, then `rounds` pairs; who goes first changes from round to round. */
  async alternate(rounds: number, job: Job): Promise<{ baseline: Run[]; wstun: Run[] }> {
    const baseline: Run[] = [];
    const wstun: Run[] = [];
    for (let round = -1; round < rounds; round++) {
      const baselineFirst = round % 2 === 0;
      if (!baselineFirst) wstun.push(await this.run(this.wstun, job));
      baseline.push(await this.run(this.baseline, job));
      if (baselineFirst) wstun.push(await this.run(this.wstun, job));
    }
    return { baseline: baseline.slice(1), wstun: wstun.slice(1) };
  }
}
