/**
 * The secret of this tab: first that of the code's URL, then that of the pairing, so that a reload needs no new code.
 * The session storage ends with the tab. The URL is cleaned at once, so that it is neither bookmarked nor shared.
 */
import { secretFromText, secretToText } from '../shared/pairing.ts';
import { HERE_KEY, SECRET_KEY, type StartView } from '../shared/start.ts';

interface Stored {
  readonly secret: Uint8Array;
  /** The secret of a code: the page has not paired yet. */
  readonly isCode: boolean;
}

export function findSecret(): Stored | undefined {
  const fresh = secretFromText(location.hash.slice(1));
  if (fresh !== undefined) {
    history.replaceState(null, '', location.pathname);
    return store(fresh, true);
  }
  const [kind, text = ''] = (sessionStorage.getItem(SECRET_KEY) ?? '').split(' ');
  const secret = secretFromText(text);
  return secret && { secret, isCode: kind === 'code' };
}

export function store(secret: Uint8Array, isCode: boolean): Stored {
  sessionStorage.setItem(SECRET_KEY, `${isCode ? 'code' : 'page'} ${secretToText(secret)}`);
  return { secret, isCode };
}

/** In a browser on the laptop itself; undefined on a phone. */
export function viewHere(): StartView | undefined {
  const view = sessionStorage.getItem(HERE_KEY);
  return view === 'tab' || view === 'hidden' ? view : undefined;
}

export function forgetSecret(): void {
  sessionStorage.removeItem(SECRET_KEY);
}
