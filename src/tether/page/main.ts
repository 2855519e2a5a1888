/** Connects the parts of the page: what it does, how it looks, and that the screen stays on. */
import { KeepAwake } from './awake.ts';
import { browserClock } from './browser-clock.ts';
import { Tether } from './tether.ts';
import { element, View } from './view.ts';

const SHOW_MS = 1_000;

const view = new View(browserClock);
const tether = new Tether((state) => view.showState(state), browserClock);
const awake = new KeepAwake(element('movie') as HTMLVideoElement, (state) => view.showAwake(state));

function showCounts(): void {
  view.showCounts(tether.counts);
  browserClock.setTimeout(showCounts, SHOW_MS);
}

showCounts();
// The first tap anywhere counts, too.
document.addEventListener('click', () => void awake.start(true), { once: true });
element('keep-awake').addEventListener('click', () => void awake.start(true));
element('continue').addEventListener('click', () => location.reload());
document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && tether.reconnectNow());
addEventListener('online', () => tether.reconnectNow());
// A new code scanned into this tab changes only the fragment.
addEventListener('hashchange', () => location.reload());

tether.start();
void awake.start(false);
