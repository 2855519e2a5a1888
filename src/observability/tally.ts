/** How often each of a few named things has happened since the start. A peer must not choose the names. */

export class Tally {
  private readonly times = new Map<string, number>();

  note(name: string): void {
    this.times.set(name, (this.times.get(name) ?? 0) + 1);
  }

  /** By name, in alphabetical order. */
  get counts(): Readonly<Record<string, number>> {
    return Tally.together([this]);
  }

  /** What several have counted. */
  static together(tallies: readonly Tally[]): Readonly<Record<string, number>> {
    const sums = new Map<string, number>();
    for (const { times } of tallies) for (const [name, count] of times) sums.set(name, (sums.get(name) ?? 0) + count);
    return Object.fromEntries([...sums].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
