/** What a session keeps, for tests which show that it keeps nothing: private fields, seen from nowhere else. */
import type { LazyMap, LazySet } from '../../src/mux/lazy-collections.ts';
import type { MuxSession } from '../../src/mux/session.ts';

interface Inside {
  readonly streams: LazyMap<number, { sendCredit: number; granted: number; held: number; queue: { bytes: number } }>;
  readonly unread: LazyMap<number, unknown>;
  readonly unreleased: LazySet<number>;
  readonly windows: { readonly committedBytes: number };
  readonly scheduler: { readonly quiet: readonly unknown[]; readonly bulk: readonly unknown[] };
  readonly writer: {
    readonly control: readonly unknown[];
    readonly pongs: readonly unknown[];
    readonly creditDebts: LazySet<unknown>;
  };
  readonly events: readonly unknown[];
  lastLocalId: number;
}

export function inside(session: MuxSession): Inside {
  return session as unknown as Inside;
}

export interface Kept {
  readonly streams: number;
  readonly unread: number;
  readonly unreleased: number;
  readonly committed: number;
  readonly ready: number;
  readonly control: number;
  readonly pongs: number;
  readonly creditDebts: number;
  readonly events: number;
}

export function kept(session: MuxSession): Kept {
  const { streams, unread, unreleased, windows, scheduler, writer, events } = inside(session);
  return {
    streams: streams.size,
    unread: unread.size,
    unreleased: unreleased.size,
    committed: windows.committedBytes,
    ready: scheduler.quiet.length + scheduler.bulk.length,
    control: writer.control.length,
    pongs: writer.pongs.length,
    creditDebts: writer.creditDebts.size,
    events: events.length,
  };
}

export const NOTHING: Kept = {
  streams: 0,
  unread: 0,
  unreleased: 0,
  committed: 0,
  ready: 0,
  control: 0,
  pongs: 0,
  creditDebts: 0,
  events: 0,
};
