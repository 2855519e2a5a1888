/**
 * What the public sides of several nodes on one port tell each other, so that limits hold for all of them together: how
 * many links are open, and which addresses behave as strangers do. Pure but for its timer: what happens is gathered,
 * and told a few times a second.
 */
import { type Clock, systemClock, type Timer } from '../clock.ts';

/** What strangers do within this time may count for one node alone, ms. */
const TELL_MS = 200;
/** Sources in one message. Beyond, a failure counts here alone. */
const MAX_SOURCES = 4_096;

interface LoadOfNode {
  readonly links: number;
  readonly failures: Readonly<Record<string, number>>;
  readonly cleared: readonly string[];
}

export class SharedLoad {
  /** Tells the others. */
  onChange: (mine: LoadOfNode) => void = () => {};
  /** What others have seen: so many connections of strangers, and a known peer. */
  onFailures: (source: string, count: number) => void = () => {};
  onCleared: (source: string) => void = () => {};
  /** Links of all other nodes. */
  otherLinks = 0;
  private links = 0;
  private failures = new Map<string, number>();
  private cleared = new Set<string>();
  private timer: Timer | undefined;

  constructor(private readonly clock: Clock = systemClock) {}

  /** So many are open here now. */
  setLinks(links: number): void {
    this.links = links;
    this.tellSoon();
  }

  noteFailure(source: string): void {
    if (this.failures.size >= MAX_SOURCES && !this.failures.has(source)) return;
    this.failures.set(source, (this.failures.get(source) ?? 0) + 1);
    this.tellSoon();
  }

  noteCleared(source: string): void {
    // What failed before it is forgiven, also elsewhere.
    this.failures.delete(source);
    if (this.cleared.size >= MAX_SOURCES) return;
    this.cleared.add(source);
    this.tellSoon();
  }

  handleOthers({ links, failures, cleared }: LoadOfNode): void {
    this.otherLinks = links;
    for (const source of cleared) this.onCleared(source);
    for (const [source, count] of Object.entries(failures)) this.onFailures(source, count);
  }

  close(): void {
    this.clock.clearTimeout(this.timer);
  }

  private tellSoon(): void {
    this.timer ??= this.clock.setTimeout(() => this.tell(), TELL_MS).unref();
  }

  private tell(): void {
    this.timer = undefined;
    const { links, failures, cleared } = this;
    this.failures = new Map();
    this.cleared = new Set();
    this.onChange({ links, failures: Object.fromEntries(failures), cleared: [...cleared] });
  }
}
