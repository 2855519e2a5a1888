/**
 * The secret of this tab: first that of the code's URL, then that of the pairing, so that a reload needs no new code.
 * The session storage ends with the tab. The URL is cleaned at once, so that it is neither bookmarked nor shared.
 */
import { secretFromText, secretToText } from '../shared/pairing.ts';

const KEY = 'wstun-tether';

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
  const [kind, text = ''] = (sessionStorage.getItem(KEY) ?? '').split(' ');
  const secret = secretFromText(text);
  return secret && { secret, isCode: kind === 'code' };
}

export function store(secret: Uint8Array, isCode: boolean): Stored {
  sessionStorage.setItem(KEY, `${isCode ? 'code' : 'page'} ${secretToText(secret)}`);
  return { secret, isCode };
}

export function forgetSecret(): void {
  sessionStorage.removeItem(KEY);
}
