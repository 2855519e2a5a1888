/**
 * The metrics of several processes as one: what they count together never becomes less, although a process ends. Of one
 * that has ended, what it had counted when it was last heard stays.
 */
import type { Metric } from '../observability/metric.ts';
import type { Add } from './exposition.ts';

/** What has happened once. All others are of the moment, and go with their process. */
const COUNTED: ReadonlySet<Metric['type']> = new Set(['counter', 'histogram', 'summary']);

export class ProcessSums<Id> {
  /** What each process that runs has said last. */
  private readonly latest = new Map<Id, readonly Metric[]>();
  /** What those that have ended had counted. */
  private ended: readonly (readonly Metric[])[] = [];

  constructor(
    private readonly add: Add,
    /** Has each process that runs say what it counts: `note`. Who does not answer in time stays as it was. */
    private readonly ask: () => Promise<void>,
  ) {}

  note(id: Id, metrics: readonly Metric[]): void {
    this.latest.set(id, metrics);
  }

  handleEnd(id: Id): void {
    const last = this.latest.get(id) ?? [];
    this.latest.delete(id);
    this.ended = [...this.ended, last.filter(({ type }) => COUNTED.has(type))];
  }

  /** @param own of the process that asks */
  async together(own: readonly Metric[] = []): Promise<readonly Metric[]> {
    await this.ask();
    await this.foldEnded();
    return await this.add([own, ...this.latest.values(), ...this.ended]);
  }

  /** So that a thousand restarts cost no more than one. */
  private async foldEnded(): Promise<void> {
    const before = this.ended;
    if (before.length < 2) return;
    const folded = await this.add(before);
    // Others may have ended meanwhile.
    this.ended = [folded, ...this.ended.slice(before.length)];
  }
}
