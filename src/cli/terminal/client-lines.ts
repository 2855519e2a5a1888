/** The lines at the bottom of the terminal of a client: how it is, in one line, and what fails. Pure. */
import type { ClientStatus, Traffic } from '../../app/status.ts';
import { type Tally, tallyText } from './failure-tally.ts';
import { counted, duration, rate, remaining } from './quantities.ts';
import { safeText } from './safe-text.ts';
import { cut, firstThatFits, widthOf } from './width.ts';

export interface ClientView {
  readonly status: ClientStatus;
  readonly failure?: Tally | undefined;
  /** Whose page it is that carries, where one does. */
  readonly page: 'phone' | 'browser';
  /** Enter is read, so that an attempt can be asked for. */
  readonly readsEnter: boolean;
  /** A code is shown, and no phone has joined. */
  readonly awaitsPhone: boolean;
  /** When what is still open will be ended, once it was told to close. */
  readonly closesAt?: number | undefined;
}

export interface LineStyle {
  readonly columns: number;
  readonly hasColours: boolean;
}

/** Named in the line about closing. */
const MAX_TARGETS = 3;

/** @param now by Date.now() */
export function clientLines(view: ClientView, now: number, style: LineStyle): readonly string[] {
  const columns = lineWidth(style);
  const line = firstThatFits(clientTexts(view, now), columns);
  return [...failureLines(view, columns), colouredMark(line, style)];
}

/** The last column stays free: a terminal may wrap a line that fills it. */
export function lineWidth({ columns }: LineStyle): number {
  return Math.max(1, columns - 1);
}

/** The line about failures that are only counted; while a code is shown, the line below says it. */
function failureLines({ failure, awaitsPhone, status, closesAt }: ClientView, columns: number): readonly string[] {
  const isOver = status.state === 'connected' || closesAt !== undefined;
  if (failure === undefined || failure.count < 2 || awaitsPhone || isOver) return [];
  return [failureLine(failure, columns)];
}

/** `13:05:53 connection refused ×7 since 13:05:53` */
export function failureLine(failure: Tally, columns: number): string {
  const times = tallyText(failure);
  const room = columns - widthOf(times) + widthOf(safeText(failure.reason));
  const reason = room < 1 ? '' : cut(safeText(failure.reason), room);
  return cut(tallyText({ ...failure, reason }), columns);
}

function clientTexts(view: ClientView, now: number): readonly string[] {
  const { status, closesAt } = view;
  if (closesAt !== undefined) return closingTexts(status, closesAt - now);
  if (view.awaitsPhone && status.state !== 'connected') return awaitingTexts(view, now);
  switch (status.state) {
    case 'connected':
      return connectedTexts(view);
    case 'link-lost':
      return lostTexts(view, now);
    case 'connecting':
    case 'disconnected':
      return connectingTexts(view, now);
    case 'closing':
      return ['◌ closing'];
    default:
      return status.state satisfies never;
  }
}

function connectedTexts({ status, page }: ClientView): readonly string[] {
  const { relay, route, streamCount, traffic, roundTripMs } = status;
  const host = safeText(hostOf(relay));
  const way = wayText(route, page);
  const streams = counted(streamCount, 'stream');
  const rates = ratesText(traffic);
  const trip = roundTripMs === undefined ? '' : `${Math.round(roundTripMs.now)} ms`;
  const choices = [
    [host, way, streams, rates, trip],
    [host, way, streams, rates],
    [way, streams, rates, trip],
    [way, streams, rates],
    [way, rates],
    [way],
  ];
  return choices.map((parts) => ['● connected', ...parts].filter((part) => part !== '').join('  '));
}

export function ratesText({ receivedPerSecond, sentPerSecond }: Traffic): string {
  return `↓ ${rate(receivedPerSecond)} ↑ ${rate(sentPerSecond)}`;
}

function wayText(route: ClientStatus['route'], page: ClientView['page']): string {
  if (route === undefined) return '';
  if (route.carrier === 'page') return `by ${page}`;
  const carrier = /^http/i.test(route.carrier) ? 'HTTP' : '';
  const proxy = route.proxy === undefined ? '' : `proxy ${safeText(withoutUserInfo(route.proxy))}`;
  const how = [carrier, proxy].filter((part) => part !== '').join(', ');
  return how === '' ? '' : `by ${how}`;
}

/** It has none by its contract; a password on a screen would be worse than to look twice. */
function withoutUserInfo(url: string): string {
  return url.replace(/\/\/[^/]*@/, '//');
}

function lostTexts(view: ClientView, now: number): readonly string[] {
  const { since, streamCount, outage } = view.status;
  const ago = `◌ link lost ${duration(now - since)} ago`;
  const limit = outage?.heldUntil === undefined ? '' : ` for up to ${remaining(outage.heldUntil - now)}`;
  const wait = `${counted(streamCount, 'connection')} ${streamCount === 1 ? 'waits' : 'wait'}${limit}`;
  const held = streamCount === 0 ? ago : `${ago}: ${wait}`;
  const short = streamCount === 0 ? ago : `${ago.replace(/ ago$/, '')}: ${wait.replace(' for up', ' up')}`;
  const [first = '', ...others] = nextTexts(view, now).map((next) => `; ${next}`);
  return [`${held}${first}`, ...[first, ...others].map((next) => `${short}${next}`), held, ago];
}

function connectingTexts(view: ClientView, now: number): readonly string[] {
  const { relay, since, outage } = view.status;
  const time = duration(now - since);
  const isWaiting = (outage?.nextAttemptAt ?? 0) > now;
  if (!isWaiting) return [`◌ connecting to ${safeText(relay)} … ${time}`, `◌ connecting … ${time}`, `◌ connecting`];
  const held = `◌ not connected for ${time}`;
  return [...nextTexts(view, now).map((next) => `${held}; ${next}`), held, `◌ ${time}`];
}

/** The one line about everything, below a code. */
function awaitingTexts(view: ClientView, now: number): readonly string[] {
  const { failure, readsEnter } = view;
  const wait = `◌ waiting for a phone`;
  const code = readsEnter ? ' (Enter: new code)' : '';
  if (failure === undefined) return [`${wait}${code}`, wait];
  const failed = failure.count < 2 ? safeText(failure.reason) : tallyText(failure);
  const [next = ''] = nextTexts({ ...view, readsEnter: false }, now);
  return [`${wait}${code}; ${failed}; ${next}`, `${wait}${code}; ${failed}`, `${wait}; ${failed}`];
}

function nextTexts({ status, readsEnter }: ClientView, now: number): readonly string[] {
  return nextAttemptTexts(status.outage?.nextAttemptAt, now, readsEnter);
}

/** When the next attempt is, the longest text first. */
export function nextAttemptTexts(at: number | undefined, now: number, readsEnter: boolean): readonly string[] {
  if (at === undefined || at <= now) return ['trying now'];
  const time = remaining(at - now);
  const key = readsEnter ? ' (Enter: now)' : '';
  return [`next attempt in ${time}${key}`, `next in ${time}${key}`, `next in ${time}`];
}

function closingTexts({ streams, streamCount }: ClientStatus, leftMs: number): readonly string[] {
  if (streamCount === 0) return ['closing'];
  const named = streams.slice(0, MAX_TARGETS).map(({ target }) => safeText(target));
  return openTexts(streamCount, namesText(named, streamCount), leftMs);
}

/** What a client that closes waits for, the longest text first. */
export function openTexts(streams: number, names: string, leftMs: number): readonly string[] {
  return closingWith(`${counted(streams, 'connection')} ${streams === 1 ? 'is' : 'are'} still open`, names, leftMs);
}

function namesText(named: readonly string[], all: number): string {
  if (named.length === 0) return '';
  return ` (${named.join(', ')}${all > named.length ? ', …' : ''})`;
}

/** While the last connections may finish, the longest text first. */
export function closingWith(open: string, names: string, leftMs: number): readonly string[] {
  const limit = `${remaining(leftMs)} at most`;
  return [
    `closing: ${open}${names}; ${limit}. Ctrl-C again ends now.`,
    `closing: ${open}; ${limit}. Ctrl-C again ends now.`,
    `closing: ${open}; ${limit}`,
    `closing: ${limit}`,
  ];
}

const GREEN = '\u001b[32m';
const YELLOW = '\u001b[33m';
const PLAIN = '\u001b[39m';

export function colouredMark(line: string, { hasColours }: LineStyle): string {
  if (!hasColours) return line;
  if (line.startsWith('●')) return `${GREEN}●${PLAIN}${line.slice(1)}`;
  return line.startsWith('◌') ? `${YELLOW}◌${PLAIN}${line.slice(1)}` : line;
}

/** Of `host:port`. */
function hostOf(hostPort: string): string {
  return hostPort.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}
