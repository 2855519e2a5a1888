/** One error for a dial at which no relay made a link: what each of them has met, the most telling first. Pure. */
import type { FaultName, WstunError } from '../../errors.ts';
import { DialError } from '../../transport/dial-obstacle.ts';
import { obstacleOf, tellingRank } from './obstacles.ts';

export interface FailedRelay {
  /** Its URL. */
  readonly relay: string;
  readonly error: WstunError;
}

/** Only relays that hold no exit of the invite: what they say ends no wait for one that could not be asked. */
const HAVE_NO_EXIT: ReadonlySet<FaultName> = new Set(['keys-rotated', 'exit-absent']);

/** The keys of one relay were rotated, and no other could be asked: so long that is taken for a passing state, ms. */
const ROTATION_FINAL_MS = 60_000;

/** What the most telling relay said, while others could not be asked: on another way there may be a link by these. */
export class SomeRelaysFault extends DialError {}

/**
 * That the keys were rotated is proved, and would end a client. Where relays share an invite, one of them proves only
 * that it has other keys itself.
 */
export class RotationWatch {
  private since: number | undefined;

  /** A relay has made a link. */
  handleWorked(): void {
    this.since = undefined;
  }

  /** Whether what a whole dial has met is final. */
  isFinal(failed: readonly FailedRelay[], now: number): boolean {
    const others = failed.filter(({ error }) => error.fault !== 'keys-rotated');
    // One that has answered otherwise knows the invite, and may have the exit in a moment.
    const isRefuted = others.some(({ error }) => obstacleOf(error) === 'relay' && !HAVE_NO_EXIT.has(error.fault));
    if (others.length === failed.length || isRefuted) {
      this.since = undefined;
      return false;
    }
    this.since ??= now;
    return others.every(({ error }) => HAVE_NO_EXIT.has(error.fault)) || now - this.since >= ROTATION_FINAL_MS;
  }
}

/** @param failed in the order in which they failed; at least one. @param isRotated as of RotationWatch */
export function faultOfRelays(failed: readonly FailedRelay[], isRotated: boolean): WstunError {
  const sorted = failed.toSorted((a, b) => rankOf(a, isRotated) - rankOf(b, isRotated));
  const [first, ...others] = sorted;
  if (first === undefined) throw new RangeError('no relay was tried');
  if (others.every(({ error }) => error.what === first.error.what)) return first.error;
  const details = sorted.map((each) => detailOf(each, first.error.fault)).join('; ');
  const Fault = failed.every(({ error }) => obstacleOf(error) === 'relay') ? DialError : SomeRelaysFault;
  return new Fault(first.error.fault, details, obstacleOf(first.error), { fix: first.error.fix });
}

/** That the exit is absent tells more than that a relay is full; other keys tell least, unless all relays have them. */
function rankOf({ error }: FailedRelay, isRotated: boolean): number {
  if (error.fault === 'keys-rotated') return isRotated ? -2 : Number.POSITIVE_INFINITY;
  return error.fault === 'exit-absent' ? -1 : tellingRank(error);
}

/** What it has met, with its place. @param fault that of the whole, which need not be said again */
function detailOf({ relay, error }: FailedRelay, fault: FaultName): string {
  const place = placeOf(relay);
  if (error.fault !== fault) return error.detail.startsWith(place) ? error.what : `${place}: ${error.what}`;
  if (error.detail === '') return place;
  return error.detail.includes(place) ? error.detail : `${place}: ${error.detail}`;
}

/** Host and port, as in the faults of a dial. */
function placeOf(relay: string): string {
  const { hostname, port, protocol } = new URL(relay);
  return `${hostname}:${port === '' ? (protocol === 'wss:' ? 443 : 80) : port}`;
}
