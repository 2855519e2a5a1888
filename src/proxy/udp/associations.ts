/** The UDP associations of a proxy: how many there may be, which one makes room, and what is logged of them. */
import type { FaultName, WstunError } from '../../errors.ts';
import type { Logger } from '../../observability/logger.ts';

export interface OpenAssociation {
  /** Of the last datagram either way, by `performance.now`. */
  readonly usedAt: number;
  end(): void;
}

/** Only an association that has been idle for so long, ms, makes room: none that is in use ends. */
const ROOM_AFTER_MS = 1_000;

/** Faults about which only the user can do something. */
const REPORTED: ReadonlySet<FaultName> = new Set(['service-unknown', 'internal']);

export class Associations {
  private readonly open = new Set<OpenAssociation>();
  private readonly reported = new Set<FaultName>();

  constructor(
    private readonly mostOpen: number,
    private readonly logger: Logger,
  ) {}

  get size(): number {
    return this.open.size;
  }

  /** The one that has been idle for longest makes room. Returns a function that removes it; undefined: no room. */
  add(association: OpenAssociation): (() => void) | undefined {
    if (this.open.size >= this.mostOpen) {
      const idle = this.longestIdle(performance.now() - ROOM_AFTER_MS);
      if (idle === undefined) return undefined;
      idle.end();
    }
    this.open.add(association);
    return () => void this.open.delete(association);
  }

  /** A datagram's loss is nothing that its program is told; what loses all of them is reported once. */
  noteFailure(error: WstunError): void {
    const { fault } = error;
    this.logger.debug({ fault }, 'UDP association ended');
    if (!REPORTED.has(fault) || this.reported.has(fault)) return;
    this.reported.add(fault);
    this.logger.warn({ fault }, `UDP does not work: ${error.message}`);
  }

  private longestIdle(usedBefore: number): OpenAssociation | undefined {
    let [usedAt, longest]: [number, OpenAssociation | undefined] = [usedBefore, undefined];
    for (const one of this.open) if (one.usedAt <= usedAt) [usedAt, longest] = [one.usedAt, one];
    return longest;
  }
}
