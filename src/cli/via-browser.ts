/** `wstun client --via-browser`: what it prints about the browser. */
import type { BrowserNotice } from '../app/browser-carrier.ts';
import { seconds } from './outage-report.ts';
import type { Output } from './output.ts';

export function reportBrowser(notice: BrowserNotice, output: Output): void {
  const { type, ...rest } = notice;
  if ('error' in notice) {
    const { code, message } = notice.error;
    const waitMs = 'waitMs' in notice ? notice.waitMs : undefined;
    output.event({ event: `browser-${type}`, code, message, ...(waitMs !== undefined && { waitMs }) });
    output.say(`${message}${waitMs === undefined || waitMs === 0 ? '' : ` Next start in ${seconds(waitMs)}.`}`);
  } else {
    output.event({ event: `browser-${type}`, ...rest });
    output.say(sentenceOf(notice));
  }
}

function sentenceOf(notice: Exclude<BrowserNotice, { error: unknown }>): string {
  if (notice.type === 'connected') return 'the browser is ready to carry connections';
  if (notice.program === undefined) return 'opening a page in the default browser; keep that tab open';
  const why = process.getuid?.() === 0 ? ', which does not work for root' : '';
  const hint = notice.sandbox === false ? `, without its sandbox${why}` : '';
  return `starting ${notice.program} without a window${hint}`;
}
