/** Which names access entries and exits may have. Pure. */
import { WstunError } from '../errors.ts';

/** The length of a DNS label. The ticket has one byte for the length and a fixed field for the name. */
export const MAX_NAME_CHARS = 63;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** 1 to 63 ASCII letters, digits, dots, dashes, underscores; the first a letter or digit. Case matters. */
export function isName(text: string): boolean {
  return typeof text === 'string' && NAME.test(text);
}

/** @throws WstunError bad-name */
export function requireName(text: string): void {
  if (!isName(text)) throw new WstunError('bad-name', JSON.stringify(String(text).slice(0, MAX_NAME_CHARS + 1)));
}
