/** The names of a certificate, checked before an authority is asked for it. */
import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import { WstunError } from '../errors.ts';

/** Of Let's Encrypt, for one certificate. */
const MAX_NAMES = 100;
const MAX_LENGTH = 253;
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * In lower case, international names in their ASCII form (RFC 5891), each once, in the order given.
 * @throws WstunError bad-domain: no name, or too many; an IP address, a wildcard, a name without a dot
 */
export function parseDomains(texts: readonly string[]): readonly string[] {
  const names = [...new Set(texts.map(parseDomain))];
  if (names.length === 0 || names.length > MAX_NAMES)
    throw new WstunError('bad-domain', `a certificate has 1 to ${MAX_NAMES} names`);
  return names;
}

function parseDomain(text: string): string {
  if (isIP(text.replace(/^\[|\]$/g, '')) !== 0) throw new WstunError('bad-domain', `${text} is an IP address`);
  if (text.includes('*')) throw new WstunError('bad-domain', `${text} is a wildcard, which needs a change in the DNS`);
  if (!/^[^\s/:@]+$/.test(text)) throw new WstunError('bad-domain', `${text} is not a plain name`);
  const name = domainToASCII(text.replace(/\.$/, ''));
  const labels = name.split('.');
  const isName = name.length <= MAX_LENGTH && labels.every((label) => LABEL.test(label));
  if (!isName || isIP(name) !== 0) throw new WstunError('bad-domain', `${text} is not a plain name`);
  if (labels.length < 2) throw new WstunError('bad-domain', `${text} has no dot`);
  return name;
}
