/**
 * Names that do not belong to the public DNS: denied before anything is looked up, unless a rule names them.
 * Pure.
 *
 * Sources: IANA "Special-Use Domain Names" (RFC 6761), RFC 6762 Appendix G for what private networks use, ICANN's
 * reservation of .internal. `example` is left out on purpose: RFC 6761 §6.5 wants it treated as any other name, and
 * example.com exists.
 */
const SPECIAL_SUFFIXES: ReadonlySet<string> = new Set([
  'alt', // RFC 9476
  'corp', // RFC 6762 Appendix G
  'home', // RFC 6762 Appendix G
  'home.arpa', // RFC 8375
  'internal', // ICANN 2024: private use; the metadata names of clouds
  'intranet', // RFC 6762 Appendix G
  'invalid', // RFC 6761 §6.4
  'ipv4only.arpa', // RFC 8880
  'lan', // RFC 6762 Appendix G
  'local', // RFC 6762 §3
  'localdomain', // in no RFC, in many hosts files
  'localhost', // RFC 6761 §6.3
  'onion', // RFC 7686 §2: must never reach the DNS
  'private', // RFC 6762 Appendix G
  'resolver.arpa', // RFC 9462
  'service.arpa', // RFC 9665
  'test', // RFC 6761 §6.2
]);

/** True for the suffixes and all names below. @param name as target-host.ts makes it: lower case, no final dot */
export function isSpecialName(name: string): boolean {
  const labels = name.split('.');
  return SPECIAL_SUFFIXES.has(labels.at(-1) ?? '') || SPECIAL_SUFFIXES.has(labels.slice(-2).join('.'));
}

/** RFC 6761 §6.3: `localhost` and all below it, which must mean loopback and never reach a name server. */
export function isLocalhostName(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost');
}
