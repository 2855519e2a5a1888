/**
 * The proxy is to end: whoever has not got a stream yet hears of it. Owns nothing but who is to be told.
 */
export class Leaving {
  private readonly told = new Set<() => void>();
  private begun = false;

  /** Calls `tell` when the proxy is to end, also if it is already. Returns what takes that back. */
  watch(tell: () => void): () => void {
    if (this.begun) tell();
    else this.told.add(tell);
    return () => void this.told.delete(tell);
  }

  begin(): void {
    this.begun = true;
    for (const tell of [...this.told]) tell();
    this.told.clear();
  }
}
