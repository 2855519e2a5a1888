/** By which route a client or an exit reaches its relay, and what is tried, for people and for programs. */
import type { RouteNotice } from '../app/route-options.ts';
import { describeRoute, type Route } from '../tunnel/routes/route.ts';
import { type OutageReport, seconds } from './outage-report.ts';
import type { Output } from './output.ts';

type Attempt = Extract<RouteNotice, { type: 'trying' }>['attempts'][number];

function routeEvent(notice: RouteNotice) {
  const { relay } = notice;
  if (notice.type === 'trying') {
    const attempts = notice.attempts.map(({ route, state, error }) => ({
      ...fieldsOf(route),
      state,
      ...faultOf(error),
    }));
    return { event: 'trying', relay, forMs: Math.round(notice.forMs), attempts } as const;
  }
  const failed = notice.failed.map(({ route, error }) => ({ ...fieldsOf(route), ...faultOf(error) }));
  return { event: 'route', relay, ...fieldsOf(notice.route), failed } as const;
}

export function reportRoute(notice: RouteNotice, output: Output, outage: OutageReport): void {
  output.event(routeEvent(notice));
  if (notice.type === 'trying') outage.handleTrying(textOf({ ...notice, forMs: 0 }), textOf(notice));
  else output.say(textOf(notice));
}

function textOf(notice: RouteNotice): string {
  if (notice.type === 'trying')
    return `wstun: no link after ${seconds(notice.forMs)}: ${attemptTexts(notice.attempts)}`;
  const all = [notice.route, ...notice.failed.map(({ route }) => route)];
  const reasons = notice.failed.map(({ route, error }) => `; ${describeRoute(route, all)}: ${error.what}`).join('');
  return `wstun: connected ${describeRoute(notice.route, all)}${reasons}`;
}

function attemptTexts(attempts: readonly Attempt[]): string {
  const all = attempts.map(({ route }) => route);
  const texts = attempts.map(
    ({ route, state, error }) => `${describeRoute(route, all)}: ${error?.what ?? STATES[state]}`,
  );
  return texts.join('; ');
}

const STATES: Readonly<Record<Attempt['state'], string>> = {
  connecting: 'there is no TCP connection yet',
  connected: 'TCP is connected, and nothing useful has come yet',
  failed: 'failed',
};

function fieldsOf({ carrier, proxy }: Route) {
  return { carrier, proxy: proxy?.name ?? null };
}

function faultOf(error: Attempt['error']) {
  return error && { code: error.code, message: error.message };
}
