/** Reads the address of a proxy as people and environment variables write it. Pure. No error repeats credentials. */
import { WstunError } from '../../errors.ts';
import { formatHostPort, type HostPort } from '../../net/host-port.ts';
import { parseIpv6 } from '../../net/ip.ts';
import { ProxyCredentials } from './proxy-credentials.ts';

type ProxyKind = 'http' | 'https' | 'socks4' | 'socks4a' | 'socks5' | 'socks5h';

export interface ProxyAddress extends HostPort {
  readonly kind: ProxyKind;
  readonly credentials?: ProxyCredentials;
}

/** Where no port is given: as curl has it. */
const DEFAULT_PORT = 1080;
const DEFAULT_TLS_PORT = 443;

const KINDS: Readonly<Record<string, ProxyKind>> = {
  http: 'http',
  https: 'https',
  socks: 'socks4',
  socks4: 'socks4',
  socks4a: 'socks4a',
  socks5: 'socks5',
  socks5h: 'socks5h',
};

/** User info ends at the last @: people paste passwords as they are. */
const FORM = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(?:(.*)@)?(?:\[([0-9a-f:.]+)\]|([^\s:/@[\]?#]+))(?::(\d{1,5}))?\/?$/i;

/**
 * `[SCHEME://][USER[:PASSWORD]@]HOST[:PORT]`; without a scheme it is http. USER and PASSWORD are percent-decoded.
 * @param source where it is from, for the fault: `--proxy`, `HTTPS_PROXY`
 * @throws WstunError bad-proxy
 */
export function parseProxy(text: string, source: string): ProxyAddress {
  const [, scheme = 'http', userInfo, ipv6, name, digits] = FORM.exec(text.trim()) ?? [];
  const kind = KINDS[scheme.toLowerCase()];
  const host = ipv6 ?? name;
  const port = digits === undefined ? (kind === 'https' ? DEFAULT_TLS_PORT : DEFAULT_PORT) : Number(digits);
  const isAddress = ipv6 === undefined || parseIpv6(ipv6) !== undefined;
  if (kind === undefined || host === undefined || !isAddress || port < 1 || port > 65_535)
    throw new WstunError('bad-proxy', `${source}: ${JSON.stringify(withoutUserInfo(text))}`);
  const credentials = userInfo === undefined || userInfo === '' ? undefined : userInfoOf(userInfo);
  return { kind, host, port, ...(credentials && { credentials }) };
}

/** The proxy's URL, without credentials. */
export function describeProxy({ kind, host, port }: ProxyAddress): string {
  return `${kind}://${formatHostPort({ host, port })}`;
}

/** A text that should be a URL, without what stands before its last @. */
export function withoutUserInfo(text: string): string {
  return text.replace(/^((?:[a-z][a-z0-9+.-]*:\/\/)?).*@/is, '$1…@');
}

function userInfoOf(text: string): ProxyCredentials {
  const colon = text.indexOf(':');
  const user = colon < 0 ? text : text.slice(0, colon);
  const password = colon < 0 ? '' : text.slice(colon + 1);
  return new ProxyCredentials(percentDecoded(user), percentDecoded(password));
}

/** A `%` without two digits after it stays; bytes that are not UTF-8 are Latin-1. */
export function percentDecoded(text: string): string {
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (run) => {
    const bytes = Buffer.from(run.replaceAll('%', ''), 'hex');
    const utf8 = bytes.toString('utf8');
    return Buffer.from(utf8).equals(bytes) ? utf8 : bytes.toString('latin1');
  });
}
