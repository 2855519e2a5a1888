/**
 * What `wstun vpn` has changed on this machine: made, extended, undone. What it is going to change is written down
 * before, in a file of the state directory, so that the next start can undo what one has left that was killed.
 */
import { readFileSync } from 'node:fs';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { StateDir } from '../state/state-dir.ts';
import {
  type Change,
  type Command,
  isOurRule,
  isRule,
  passAround,
  planVpn,
  RESOLV_CONF,
  type VpnFacts,
} from './changes.ts';
import type { Machine } from './machine.ts';

const FILE = 'vpn.json';
/** Addresses around the tunnel. A relay behind many, which change for weeks, has that of the longest ago removed. */
const MAX_AROUND = 256;

const LIST_IPV4: Command = ['ip', '-4', 'rule'];
const LIST_IPV6: Command = ['ip', '-6', 'rule'];

/** A process, and when it began: the kernel gives a number again. */
interface ProcessMark {
  readonly pid: number;
  /** Of /proc/PID/stat, in ticks since the machine began. */
  readonly startedAt: string | undefined;
}

/** Facts, and no commands: whoever could write the file must not have root run what is in it. */
interface Content {
  readonly owner: ProcessMark;
  readonly program?: ProcessMark | undefined;
  readonly facts: VpnFacts;
}

export class Setup {
  private program: ProcessMark | undefined;
  private readonly owner = markOf(process.pid);
  private isMade = false;
  /** One after another. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly state: StateDir,
    private readonly machine: Machine,
    private facts: VpnFacts,
  ) {}

  /** All of it, or nothing. @throws WstunError vpn-failed, vpn-program-missing, state-unusable */
  make(): Promise<void> {
    return this.inTurn(async () => {
      await this.save();
      const made: Change[] = [];
      try {
        for (const change of planVpn(this.facts)) {
          await this.machine.make(change);
          made.push(change);
        }
        this.isMade = true;
      } catch (error) {
        await undo(made, this.machine);
        await this.state.remove(FILE);
        throw error;
      }
    });
  }

  /**
   * From when this resolves on, packets to that address pass around the tunnel. @returns whether they did not before
   * @throws WstunError vpn-failed
   */
  passAround(address: string): Promise<boolean> {
    return this.inTurn(async () => {
      const { around, ipv6 } = this.facts;
      if (!this.isMade || around.includes(address)) return false;
      const [oldest, ...others] = around;
      const isFull = around.length >= MAX_AROUND && oldest !== undefined;
      this.facts = { ...this.facts, around: [...(isFull ? others : around), address] };
      await this.save();
      for (const change of passAround(address, ipv6)) await this.machine.make(change);
      if (isFull) await undo(passAround(oldest, ipv6), this.machine);
      return true;
    });
  }

  /**
   * Makes rules again that another program has deleted, as services that set up networks do. While one is missing,
   * packets can go around the tunnel. @returns whether one was
   */
  repair(): Promise<boolean> {
    return this.inTurn(async () => {
      const { ipv6 } = this.facts;
      const commands = ipv6 === 'absent' ? [LIST_IPV4] : [LIST_IPV4, LIST_IPV6];
      const listed = this.isMade ? await Promise.all(commands.map((command) => this.machine.ask(command))) : [];
      const rules = planVpn(this.facts).filter(isRule);
      // What cannot be listed is left alone.
      if (listed.length === 0 || listed.includes(undefined) || countOurs(listed) >= rules.length) return false;
      for (const rule of rules) await this.machine.make(rule).catch(() => {});
      return true;
    });
  }

  /** Must not outlive this process. */
  noteProgram(pid: number): Promise<void> {
    return this.inTurn(async () => {
      this.program = markOf(pid);
      await this.save();
    });
  }

  /** Never rejects. May be called again. */
  undo(): Promise<void> {
    return this.inTurn(async () => {
      if (!this.isMade) return;
      this.isMade = false;
      await undo(planVpn(this.facts), this.machine);
      await this.state.remove(FILE).catch(() => {});
    });
  }

  private inTurn<T>(act: () => Promise<T>): Promise<T> {
    const done = this.turn.then(act);
    this.turn = done.catch(() => {});
    return done;
  }

  private async save(): Promise<void> {
    const content: Content = { owner: this.owner, program: this.program, facts: this.facts };
    await this.state.write(FILE, `${JSON.stringify(content)}\n`);
  }
}

/**
 * Undoes what one has left that was killed. @returns whether there was something
 * @throws WstunError vpn-running, state-unusable
 */
export async function restore(state: StateDir, machine: Machine, logger: Logger): Promise<boolean> {
  const text = await state.read(FILE, { secret: true });
  if (text === undefined) return false;
  const content = parse(text);
  if (content !== undefined && isRunning(content.owner))
    throw new WstunError('vpn-running', `process ${content.owner.pid}`);
  if (content?.program !== undefined && isRunning(content.program)) process.kill(content.program.pid, 'SIGKILL');
  if (content !== undefined) await undo(planVpn(content.facts), machine);
  await state.remove(FILE);
  logger.info({}, 'the routes were restored that a killed wstun vpn had left');
  return content !== undefined;
}

function countOurs(listed: readonly (string | undefined)[]): number {
  return listed.flatMap((text) => text?.split('\n') ?? []).filter(isOurRule).length;
}

/** The last change first; each has no effect where it was not made. */
async function undo(changes: readonly Change[], machine: Machine): Promise<void> {
  for (const change of changes.toReversed()) await machine.undo(change);
}

/** Undefined for what this version has not written. */
function parse(text: string): Content | undefined {
  try {
    const { owner, program, facts } = JSON.parse(text) as Content;
    const { around, ownDnsPort, ipv6, file } = facts;
    const isRight =
      isMark(owner) &&
      (program === undefined || isMark(program)) &&
      Array.isArray(around) &&
      around.every((address) => typeof address === 'string') &&
      (ownDnsPort === undefined || Number.isInteger(ownDnsPort)) &&
      ['carried', 'blocked', 'absent'].includes(ipv6) &&
      (file === undefined || file.path === RESOLV_CONF);
    return isRight ? { owner, program, facts } : undefined;
  } catch {
    return undefined;
  }
}

function isMark(mark: unknown): mark is ProcessMark {
  return typeof mark === 'object' && mark !== null && 'pid' in mark && Number.isInteger(mark.pid);
}

function markOf(pid: number): ProcessMark {
  return { pid, startedAt: startOf(pid) };
}

function isRunning({ pid, startedAt }: ProcessMark): boolean {
  const now = startOf(pid);
  return now !== undefined && now === startedAt;
}

/** proc_pid_stat(5), field 22; the second one is a name in brackets, which may have anything in it. */
function startOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
