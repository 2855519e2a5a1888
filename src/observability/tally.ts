/** How often each of a few named things has happened since the start. A peer must not choose the names. */

export class Tally {
  private readonly times = new Map<string, number>();

  note(name: string): void {
    this.times.set(name, (this.times.get(name) ?? 0) + 1);
  }

  /** By name, in alphabetical order. */
  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.times].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
