/**
 * Why a certificate is not accepted, in words. What the certificate says is the text of a stranger: it is shown without
 * control characters, and bounded. Pure.
 */
import { WstunError } from '../../errors.ts';

/** Of a certificate, as `X509Certificate` writes it. */
interface CertificateText {
  /** Lines `O=…`, `CN=…`. */
  readonly issuer: string;
  /** `DNS:…, IP Address:…` */
  readonly subjectAltName: string | undefined;
  /** Both in a form that `Date.parse` reads. */
  readonly validFrom: string;
  readonly validTo: string;
}

export interface SeenCertificate extends CertificateText {
  /** Of its key; undefined: unknown. */
  readonly pin: string | undefined;
  /** Issuers of it and of the certificates above it, that the server sent. */
  readonly issuers: readonly string[];
}

export interface Judgement {
  /** Host and port as dialled. */
  readonly where: string;
  /** A name or address of the URL. */
  readonly host: string;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** The records are not sealed: whoever ends TLS can read them. */
  readonly unsealed: boolean;
}

/** Programs that inspect TLS, and what the names of their certificate authorities have in common. */
const INSPECTORS: readonly (readonly [product: string, issuer: RegExp])[] = [
  ['Zscaler', /zscaler/i],
  ['Fortinet FortiGate', /forti(?:net|gate)/i],
  ['Blue Coat ProxySG (Symantec)', /blue ?coat|proxysg|symantec web|cloud services ca/i],
  ['Palo Alto Networks', /palo ?alto|panos|prisma access/i],
  ['Sophos', /sophos|\butm.*(?:proxy|webadmin) ca/i],
  ['Netskope', /netskope|goskope/i],
  ['Cisco Umbrella', /cisco umbrella|opendns/i],
  ['Cisco Secure Web Appliance', /ironport|cisco.*(?:web security|wsa)/i],
  ['Check Point', /check ?point/i],
  ['Forcepoint', /forcepoint|websense/i],
  ['McAfee / Skyhigh Web Gateway', /mcafee|skyhigh|trellix/i],
  ['Barracuda', /barracuda/i],
  ['WatchGuard', /watchguard/i],
  ['SonicWall', /sonicwall/i],
  ['Cloudflare Gateway', /cloudflare (?:for teams|gateway|zero trust)|gateway ca - cloudflare/i],
  ['Trend Micro', /trend ?micro|iwsva/i],
  ['Untangle', /untangle|arista edge/i],
  ['Securly', /securly/i],
  ['Lightspeed Systems', /lightspeed/i],
  ['GoGuardian', /goguardian/i],
  ['ContentKeeper', /contentkeeper/i],
  ['Smoothwall', /smoothwall/i],
  ['Kaspersky', /kaspersky/i],
  ['ESET', /\beset\b/i],
  ['Avast or AVG', /\bavast|\bavg\b/i],
  ['Bitdefender', /bitdefender/i],
  ['Dr.Web', /dr\.? ?web/i],
  ['AdGuard', /adguard/i],
  ['mitmproxy', /mitmproxy/i],
  ['Burp Suite', /portswigger/i],
  ['Charles', /charles proxy/i],
  ['Fiddler', /fiddler|do_not_trust/i],
  ['squid', /\bsquid\b/i],
  ['pfSense or OPNsense', /pfsense|opnsense/i],
];

/** Characters of a name that is shown. */
const MAX_NAME_CHARS = 80;
/** Names that are shown of a certificate that has many. */
const MAX_NAMES = 3;

/** @param code of OpenSSL, or ERR_TLS_CERT_ALTNAME_INVALID, as Node has it in `authorizationError` */
export function certificateFault(code: string, seen: SeenCertificate, judgement: Judgement): WstunError {
  const { where } = judgement;
  if (code === OTHER_NAME)
    return new WstunError('relay-other-name', `${where}: it is for ${namesIn(seen)}, not for ${judgement.host}`);
  if (OUT_OF_DATE.has(code)) return new WstunError('relay-out-of-date', `${where}: ${datesOf(seen, judgement.now)}`);
  const inspector = inspectorOf(seen.issuers);
  if (inspector !== undefined) return inspected(inspector, seen, judgement);
  if (!UNKNOWN_AUTHORITY.has(code)) return new WstunError('relay-untrusted', `${where}: ${shown(code)}`);
  const from = code === SELF_SIGNED ? 'it is self-signed' : `it is from ${issuerIn(seen)}, which is not known here`;
  return new WstunError('relay-untrusted', `${where}: ${from}${pinText(seen)}`);
}

/** Only keys with one of the pins of the user are accepted, and this is another one. */
export function otherKeyFault(seen: SeenCertificate, { where }: Judgement): WstunError {
  return new WstunError('relay-other-key', `${where}: the certificate is from ${issuerIn(seen)}${pinText(seen)}`);
}

function inspected(product: string, seen: SeenCertificate, { where, unsealed }: Judgement): WstunError {
  const detail = `${where}: the certificate is from ${issuerIn(seen)} (${product})`;
  if (!unsealed) return new WstunError('tls-inspected', detail);
  return new WstunError('tls-inspected', detail, {
    fix: 'With --encryption off, it could read all data. Use --encryption on.',
  });
}

const SELF_SIGNED = 'DEPTH_ZERO_SELF_SIGNED_CERT';
const OTHER_NAME = 'ERR_TLS_CERT_ALTNAME_INVALID';
const OUT_OF_DATE: ReadonlySet<string> = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']);
const UNKNOWN_AUTHORITY: ReadonlySet<string> = new Set([
  SELF_SIGNED,
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** A product that inspects TLS. @param issuers of a chain */
export function inspectorOf(issuers: readonly string[]): string | undefined {
  return INSPECTORS.find(([, issuer]) => issuers.some((text) => issuer.test(text)))?.[0];
}

function datesOf({ validFrom, validTo }: CertificateText, now: number): string {
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  const clock = `this machine's clock says ${dateText(now)}`;
  if (now < from) return `it is not valid before ${dateText(from)}, and ${clock}`;
  if (now > to) return `it has expired on ${dateText(to)}, and ${clock}`;
  return `the certificate of its issuer is out of date, and ${clock}`;
}

/** To the minute, in UTC. */
function dateText(ms: number): string {
  return Number.isNaN(ms) ? 'an unknown date' : `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

function namesIn({ subjectAltName = '' }: CertificateText): string {
  const names = subjectAltName
    .split(', ')
    .filter((name) => /^(?:DNS|IP Address):/.test(name))
    .map((name) => shown(name.replace(/^[^:]*:/, '')));
  if (names.length === 0) return 'no host name at all';
  const more = names.length > MAX_NAMES ? ` and ${names.length - MAX_NAMES} more` : '';
  return `${names.slice(0, MAX_NAMES).join(', ')}${more}`;
}

/** Its name, in quotes. */
export function issuerIn({ issuer }: Pick<CertificateText, 'issuer'>): string {
  const value = (key: string): string | undefined => new RegExp(`^${key}=(.*)$`, 'm').exec(issuer)?.[1];
  const parts = [value('CN'), value('O')].filter((part) => part !== undefined && part !== '');
  return parts.length === 0 ? 'an issuer without a name' : `"${shown(parts.join(', '))}"`;
}

function pinText({ pin }: SeenCertificate): string {
  return pin === undefined ? '' : `; the pin of its key is ${pin}`;
}

/** Without control characters, directions of text and line breaks. */
function shown(text: string): string {
  const clean = text.replace(/[\p{C}\p{Zl}\p{Zp}"]/gu, ' ').trim();
  return clean.length > MAX_NAME_CHARS ? `${clean.slice(0, MAX_NAME_CHARS)}…` : clean;
}
