/**
 * A wait between attempts that can be cut short: by a person, by a change of the network, or because nothing is waited
 * for any more.
 */
export class InterruptibleDelay {
  private end: (() => void) | undefined;

  /** One at a time. */
  wait(ms: number): Promise<void> {
    if (ms <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.end = undefined;
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.end = end;
    });
  }

  cut(): void {
    this.end?.();
  }
}
