/** What a session with several links keeps: private fields, seen from nowhere else. */
import type { RecordPart } from '../../../../src/mux/links/kept-records.ts';
import type { SessionLink } from '../../../../src/mux/links/session-link.ts';
import type { ResumableSession } from '../../../../src/mux/resumable-session.ts';

interface Kept {
  readonly records: readonly (RecordPart & { readonly pieces: readonly RecordPart[] | undefined })[];
  readonly first: number;
  readonly lastNumber: number;
}

interface Inside {
  readonly sender: { readonly kept: Kept };
  readonly order: { readonly heldBytes: number };
}

interface InsideLink {
  readonly inFlight: readonly { readonly part: RecordPart | undefined; readonly length: number }[];
  readonly first: number;
}

function inside(session: ResumableSession): Inside {
  return session as unknown as Inside;
}

/** What waits for other records, bytes. */
export function heldBytes(session: ResumableSession): number {
  return inside(session).order.heldBytes;
}

/** Of the newest record that was ever sent. */
export function newestNumber(session: ResumableSession): number {
  return inside(session).sender.kept.lastNumber;
}

/** Parts of records that the peer does not have, as far as this end knows. */
export function unackedParts(session: ResumableSession): readonly RecordPart[] {
  const { records, first } = inside(session).sender.kept;
  return records
    .slice(first)
    .flatMap((record) => record.pieces ?? [record])
    .filter((part) => !part.isAcked && !part.record.isAcked);
}

/** Without a part: datagrams. */
export function inFlightOn(link: SessionLink): InsideLink['inFlight'] {
  const { inFlight, first } = link as unknown as InsideLink;
  return inFlight.slice(first);
}
