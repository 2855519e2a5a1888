/** Tells connections that have no stream yet that the proxy is shutting down. Owns only the list of callbacks. */
export class ShutdownNotice {
  private readonly told = new Set<() => void>();
  private begun = false;

  /** Calls `tell` when the proxy shuts down, at once if it already does. Returns a function that removes it. */
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
