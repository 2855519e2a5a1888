/** What a session keeps, for tests which show that it keeps nothing: private fields, seen from nowhere else. */
import type { LazyMap, LazySet } from '../../../src/mux/lazy-collections.ts';
import type { MuxSession } from '../../../src/mux/session.ts';

interface Stream {
  sendCredit: number;
  granted: number;
  held: number;
  queue: { bytes: number };
  readonly datagrams: { readonly bytes: number } | undefined;
}

interface Streams {
  readonly live: LazyMap<number, Stream>;
  readonly unread: LazyMap<number, unknown>;
  readonly unreleased: LazySet<number>;
  lastLocalId: number;
}

interface Inside {
  readonly streams: Streams;
  readonly windows: { readonly committedBytes: number };
  readonly scheduler: { readonly quiet: readonly unknown[]; readonly bulk: readonly unknown[] };
  readonly writer: {
    readonly control: readonly unknown[];
    readonly pendingPongs: readonly unknown[];
    readonly pendingCredit: LazySet<unknown>;
  };
  readonly events: { readonly events: readonly unknown[] };
}

export function inside(session: MuxSession): Inside {
  return (session as unknown as { readonly parts: Inside }).parts;
}

export interface Kept {
  readonly streams: number;
  readonly unread: number;
  readonly unreleased: number;
  readonly committed: number;
  readonly ready: number;
  readonly control: number;
  readonly pongs: number;
  readonly credit: number;
  readonly events: number;
}

export function kept(session: MuxSession): Kept {
  const { streams, windows, scheduler, writer, events } = inside(session);
  return {
    streams: streams.live.size,
    unread: streams.unread.size,
    unreleased: streams.unreleased.size,
    committed: windows.committedBytes,
    ready: scheduler.quiet.length + scheduler.bulk.length,
    control: writer.control.length,
    pongs: writer.pendingPongs.length,
    credit: writer.pendingCredit.size,
    events: events.events.length,
  };
}

/** Of all associations that are open. */
export function waitingDatagramBytes(session: MuxSession): number {
  return [...inside(session).streams.live.values()].reduce((sum, { datagrams }) => sum + (datagrams?.bytes ?? 0), 0);
}

export const NOTHING: Kept = {
  streams: 0,
  unread: 0,
  unreleased: 0,
  committed: 0,
  ready: 0,
  control: 0,
  pongs: 0,
  credit: 0,
  events: 0,
};
