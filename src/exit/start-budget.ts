/** How many dials may begin now: some at once, and more as time passes. Pure, time is passed in. */
export class StartBudget {
  private readonly most: number;
  private readonly perMs: number;
  private left: number;
  private updated: number;

  /** Full. @param now ms */
  constructor(most: number, perMs: number, now: number) {
    this.most = most;
    this.perMs = perMs;
    this.left = most;
    this.updated = now;
  }

  has(now: number): boolean {
    this.left = Math.min(this.most, this.left + Math.max(0, now - this.updated) * this.perMs);
    this.updated = Math.max(now, this.updated);
    return this.left >= 1;
  }

  /** Only after `has`. */
  take(): void {
    this.left--;
  }

  /** What began is over, and did not hang. */
  giveBack(): void {
    this.left = Math.min(this.most, this.left + 1);
  }
}
