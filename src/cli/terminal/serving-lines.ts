/** The lines at the bottom of the terminal of a relay or an exit. Pure. */
import type { RelayStatus, ServingStatus } from '../../app/status.ts';
import {
  closingWith,
  colouredMark,
  failureLine,
  type LineStyle,
  lineWidth,
  nextAttemptTexts,
  ratesText,
} from './client-lines.ts';
import type { Tally } from './failure-tally.ts';
import { counted, duration } from './quantities.ts';
import { safeText } from './safe-text.ts';
import { cut, firstThatFits } from './width.ts';

export interface ServingView {
  readonly status: ServingStatus;
  /** Of an exit that is not registered: what fails, since when, and when it tries again. */
  readonly outage?:
    | { readonly failure?: Tally | undefined; readonly since: number; readonly nextAttemptAt?: number | undefined }
    | undefined;
  readonly readsEnter: boolean;
  /** When what is still open will be ended, once it was told to close. */
  readonly closesAt?: number | undefined;
}

/** @param now by Date.now() */
export function servingLines(view: ServingView, now: number, style: LineStyle): readonly string[] {
  const { status, outage, closesAt } = view;
  const columns = lineWidth(style);
  if (closesAt !== undefined) {
    const texts = openOf(status).sessions === 0 ? ['closing'] : closingWith(openText(status), '', closesAt - now);
    return [firstThatFits(texts, columns)];
  }
  const line = colouredMark(firstThatFits(servingTexts(view, now), columns), style);
  const failure = outage?.failure;
  const relays = (status.relays ?? []).map((relay) => colouredMark(cut(relayText(relay, now), columns), style));
  return failure === undefined || failure.count < 2
    ? [...relays, line]
    : [...relays, failureLine(failure, columns), line];
}

/** Of one of several relays of an exit. */
function relayText({ address, registeredAt, fault, sameAs }: RelayStatus, now: number): string {
  const place = safeText(address);
  if (registeredAt !== undefined) return `● ${place}  registered for ${duration(now - registeredAt)}`;
  if (sameAs !== undefined) return `● ${place}  the same relay as ${safeText(sameAs)}`;
  return `◌ ${place}  not registered${fault === undefined ? '' : ` (${fault.code})`}`;
}

/** What one that closes waits for; what a relay forwards ends at once. `2 sessions with 5 connections are …` */
export function openText(status: ServingStatus): string {
  const { sessions, streams } = openOf(status);
  const many = counted(streams, 'connection');
  return `${counted(sessions, 'session')} with ${many} ${sessions === 1 ? 'is' : 'are'} still open`;
}

export function openOf({ peers }: ServingStatus): { readonly sessions: number; readonly streams: number } {
  const busy = peers.filter(({ streams = 0 }) => streams > 0);
  return { sessions: busy.length, streams: sumOf(busy, ({ streams = 0 }) => streams) };
}

function servingTexts(view: ServingView, now: number): readonly string[] {
  const { status, outage } = view;
  const people = counted(status.peerCount, 'client');
  const exits = status.exits.length === 0 ? '' : counted(status.exits.length, 'exit');
  const streams = counted(
    sumOf(status.peers, (peer) => peer.streams ?? 0),
    'stream',
  );
  const of = (pick: 'sentPerSecond' | 'receivedPerSecond') => sumOf(status.peers, ({ traffic }) => traffic[pick]);
  const rates = ratesText({
    ...{ sent: 0, received: 0 },
    sentPerSecond: of('sentPerSecond'),
    receivedPerSecond: of('receivedPerSecond'),
  });
  if (outage !== undefined) {
    const held = `◌ not registered for ${duration(now - outage.since)}`;
    const next = nextAttemptTexts(outage.nextAttemptAt, now, view.readsEnter);
    return [...next.map((text) => `${held}; ${people}; ${text}`), ...next.map((text) => `${held}; ${text}`), held];
  }
  const place = safeText(placeOf(status));
  const choices = [
    [place, people, exits, streams, rates],
    [people, exits, streams, rates],
    [people, streams, rates],
    [people, rates],
    [people],
  ];
  const mark = status.role === 'relay' ? '● relay' : '● registered';
  return choices.map((parts) => [mark, ...parts].filter((part) => part !== '').join('  '));
}

/** Of several relays, the lines above have the names. */
function placeOf(status: ServingStatus): string {
  if (status.relays !== undefined) {
    const standing = status.relays.filter(({ registeredAt }) => registeredAt !== undefined);
    return `at ${standing.length} of ${status.relays.length} relays`;
  }
  return status.relay?.address ?? status.listen?.join(', ') ?? '';
}

function sumOf<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((sum, item) => sum + value(item), 0);
}
