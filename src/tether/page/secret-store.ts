/**
 * The secret of this tab: first that of the code's URL, or of a start file, then that of the pairing, so that a reload
 * needs no new code. The session storage ends with the tab. The URL is cleaned at once, so that it is neither
 * bookmarked nor shared.
 */
import { secretFromText, secretToText } from '../shared/pairing.ts';
import { type PageStart, START_VARIABLE, type StartView, VIEW_KEY } from '../shared/start.ts';

const KEY = 'wstun-tether';

interface Stored {
  readonly secret: Uint8Array;
  /** The secret of a code: the page has not paired yet. */
  readonly isCode: boolean;
}

/** What the laptop has put before this script, in the answer to a start file. */
const start = (globalThis as { readonly [START_VARIABLE]?: PageStart })[START_VARIABLE];

export function findSecret(): Stored | undefined {
  const started = secretFromText(start?.secret ?? '');
  // It opens one pairing, and is stored nowhere.
  if (started !== undefined) {
    history.replaceState(null, '', '/');
    return { secret: started, isCode: true };
  }
  const fresh = secretFromText(location.hash.slice(1));
  if (fresh !== undefined) {
    history.replaceState(null, '', location.pathname);
    return store(fresh, true);
  }
  const [kind, text = ''] = (sessionStorage.getItem(KEY) ?? '').split(' ');
  const secret = secretFromText(text);
  return secret && { secret, isCode: kind === 'code' };
}

export function store(secret: Uint8Array, isCode: boolean): Stored {
  sessionStorage.setItem(KEY, `${isCode ? 'code' : 'page'} ${secretToText(secret)}`);
  return { secret, isCode };
}

/** In a browser on the laptop itself; undefined on a phone. */
export function viewHere(): StartView | undefined {
  if (start !== undefined) sessionStorage.setItem(VIEW_KEY, start.view);
  const view = sessionStorage.getItem(VIEW_KEY);
  return view === 'tab' || view === 'hidden' ? view : undefined;
}

export function forgetSecret(): void {
  sessionStorage.removeItem(KEY);
}
