/**
 * Logs requests that do not become links. If someone can fix the cause, a known peer gets a warning, once a minute for
 * each peer and reason: clients try again every second. Strangers are logged only at debug, and no ticket or target is.
 */
import type { Logger } from '../observability/logger.ts';
import { Tally } from '../observability/tally.ts';
import type { Refused } from './gate.ts';

const REPEAT_MS = 60_000;
/** Peers and reasons with a warning within a minute; others wait. 0.1 KB each. */
const MAX_WARNED = 1_024;

export class RefusalLog {
  /** Peer and reason to the time of the last warning, the oldest first. */
  private readonly warned = new Map<string, number>();

  constructor(
    private readonly logger: Logger,
    /** The path prefix of the relay, if it has one. */
    private readonly prefix: string | undefined,
    /** Of refusals, by reason. */
    private readonly tally = new Tally(),
  ) {}

  /** @param now milliseconds of any clock that does not run backwards */
  note(refused: Refused, remote: string | undefined, now: number): void {
    const { reason, peer } = refused;
    this.tally.note(reason);
    if (peer === undefined) return this.logger.debug({ remote, reason }, 'a request was rejected');
    const warning = this.warningOf(refused);
    if (warning === undefined) return this.logger.info({ remote, peer, reason }, 'a ticket was rejected');
    if (!this.isDue(`${reason} ${peer}`, now)) return;
    this.logger.warn({ remote, peer, reason, ...warning.fields }, warning.text);
  }

  private warningOf({ reason, peer = '', missing, path, offset = 0, meant }: Refused) {
    switch (reason) {
      case 'upgrade-dropped': {
        const text = `a valid ticket of ${peer} came without its WebSocket upgrade (${missing}): something in front of the relay drops it; see docs/operations.md`;
        return { fields: { missing }, text };
      }
      case 'wrong-path': {
        const instead = `${this.prefix ?? ''}/…`;
        const text = `a valid ticket of ${peer} came under the path ${path} instead of ${instead}: check --path, and the path that the web server in front passes on`;
        return { fields: { path, instead }, text };
      }
      case 'misdirected':
        return { fields: { ...(meant !== undefined && { meant }) }, text: misdirectedText(peer, meant) };
      case 'late':
      case 'early':
        return { fields: { offset }, text: clockText(peer, offset) };
      case 'relay-full':
        return {
          fields: {},
          text: `no link for ${peer}: the relay has reached its maximum number of links ("links" in limits.toml)`,
        };
      case 'too-often':
        return { fields: {}, text: `${peer} opens links too often and must wait` };
      default:
        return undefined;
    }
  }

  private isDue(what: string, now: number): boolean {
    for (const [each, at] of this.warned) {
      if (now - at < REPEAT_MS) break;
      this.warned.delete(each);
    }
    if (this.warned.has(what) || this.warned.size >= MAX_WARNED) return false;
    this.warned.set(what, now);
    return true;
  }
}

/** Either the owner has not said all names of this relay, or someone has sent the ticket to the wrong one. */
function misdirectedText(peer: string, meant: string | undefined): string {
  const isFor =
    meant === undefined ? 'another URL than those of this relay' : `${meant}, which is another relay with these keys`;
  const given = meant ?? 'URL';
  return `a ticket of ${peer} is for ${isFor}: if clients reach this relay by it, too, start it with --own-url ${given}; if not, somebody may have recorded the ticket`;
}

/** For a wrong clock, on either side. @param offset the peer's clock less ours, seconds */
export function clockText(peer: string, offset: number): string {
  const seconds = Math.abs(offset);
  return `a ticket of ${peer} is ${seconds} s ${offset < 0 ? 'old' : 'in the future'}: the clock of ${peer} or of this machine is wrong`;
}
