/** By which route a client or an exit reaches its relay, and what is tried, for people and for programs. */
import type { RouteNotice } from '../app/route-options.ts';
import { describeRoute, type Route } from '../tunnel/routes/route.ts';
import { type OutageReport, seconds } from './outage-report.ts';
import type { Output } from './output.ts';

type Attempt = Extract<RouteNotice, { type: 'trying' }>['attempts'][number];

function routeEvent(notice: RouteNotice) {
  const { relay } = notice;
  if (notice.type === 'relay') {
    const failed = notice.failed.map((one) => ({ relay: one.relay, ...faultOf(one.error) }));
    return { event: 'relay', relay, failed } as const;
  }
  if (notice.type === 'trying') {
    const attempts = notice.attempts.map(({ route, state, error }) => ({
      ...fieldsOf(route),
      state,
      ...faultOf(error),
    }));
    return { event: 'trying', relay, forMs: Math.round(notice.forMs), attempts } as const;
  }
  const failed = notice.failed.map(({ route, error }) => ({ ...fieldsOf(route), ...faultOf(error) }));
  const unfinished = notice.unfinished.map(({ route, state }) => ({ ...fieldsOf(route), state }));
  return { event: 'route', relay, ...fieldsOf(notice.route), failed, unfinished } as const;
}

export function reportRoute(notice: RouteNotice, output: Output, outage: OutageReport): void {
  output.event(routeEvent(notice));
  if (notice.type === 'trying') outage.handleTrying(textOf({ ...notice, forMs: 0 }), textOf(notice));
  else output.say(textOf(notice));
}

function textOf(notice: RouteNotice): string {
  if (notice.type === 'relay') return relayText(notice);
  if (notice.type === 'trying' && notice.attempts.length === 0)
    return `the PAC file has not come yet, which says by which proxy to reach ${placeOf(notice.relay)}`;
  if (notice.type === 'trying')
    return `no link to ${placeOf(notice.relay)} after ${seconds(notice.forMs)}: ${attemptTexts(notice.attempts).join('; ')}`;
  const failed = notice.failed.map((one) => ({ ...one, state: 'failed' as const }));
  const others: readonly Attempt[] = [...failed, ...notice.unfinished];
  const all = [notice.route, ...others.map(({ route }) => route)];
  return [`connected ${describeRoute(notice.route, all)}`, ...attemptTexts(others, all)].join('; ');
}

function relayText({ relay, failed }: Extract<RouteNotice, { type: 'relay' }>): string {
  const others = failed.map((one) => `${placeOf(one.relay)}: ${one.error.what}`);
  return [`connected through ${placeOf(relay)}`, ...others].join('; ');
}

function placeOf(relay: string): string {
  return new URL(relay).host;
}

function attemptTexts(attempts: readonly Attempt[], all = attempts.map(({ route }) => route)): readonly string[] {
  return attempts.map((attempt) => `${describeRoute(attempt.route, all)}: ${attemptText(attempt)}`);
}

/** Whether a proxy itself is connected is not known here. */
function attemptText({ route, state, error }: Attempt): string {
  if (error !== undefined) return error.what;
  if (state === 'connecting' && route.proxy !== undefined) return 'the proxy has opened no connection to the relay yet';
  return STATES[state];
}

const STATES: Readonly<Record<Attempt['state'], string>> = {
  connecting: 'there is no TCP connection yet',
  connected: 'TCP is connected, and nothing useful has come yet',
  opened: 'it was opened, and nothing has come through it yet',
  failed: 'failed',
};

function fieldsOf({ carrier, proxy }: Route) {
  return { carrier, proxy: proxy?.name ?? null };
}

function faultOf(error: Attempt['error']) {
  return error && { code: error.code, message: error.message };
}
