/** Connects the parts of the page: what it does, how it looks, and that the screen stays on. */
import { KeepAwake } from './awake.ts';
import { browserClock } from './browser-clock.ts';
import { viewHere } from './secret-store.ts';
import { STRINGS, STRINGS_HERE } from './strings.ts';
import { Tether } from './tether.ts';
import { element, View } from './view.ts';

const SHOW_MS = 250;
/** Where a person wants no movement. */
const SHOW_STILL_MS = 1_000;

/** On the laptop itself the screen may go off, and where nobody looks nothing is drawn. */
const here = viewHere();
document.body.hidden = here === 'hidden';

const view = new View(browserClock, here === undefined ? STRINGS : STRINGS_HERE, location.host);
const tether = new Tether((state) => view.showState(state), browserClock);
const still = matchMedia('(prefers-reduced-motion: reduce)');

function keepAwake(): void {
  const awake = new KeepAwake(element('movie') as HTMLVideoElement, (state) => view.showAwake(state));
  // The first tap anywhere counts, too.
  document.addEventListener('click', () => void awake.start(true), { once: true });
  element('keep-awake').addEventListener('click', () => void awake.start(true));
  void awake.start(false);
}

function showCounts(): void {
  view.showCounts(tether.counts);
  browserClock.setTimeout(showCounts, still.matches || here === 'hidden' ? SHOW_STILL_MS : SHOW_MS);
}

showCounts();
element('continue').addEventListener('click', () => location.reload());
document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && tether.reconnectNow());
addEventListener('online', () => tether.reconnectNow());
// A new code scanned into this tab changes only the fragment.
addEventListener('hashchange', () => location.reload());

tether.start();
if (here === undefined) keepAwake();
