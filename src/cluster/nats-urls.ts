/** The servers of `--cluster`: checks and takes apart their URLs. Pure. */
import { WstunError } from '../errors.ts';

export interface NatsServers {
  /** `HOST:PORT`, IPv6 in brackets. */
  readonly hosts: readonly string[];
  /** Without TLS only to servers that do not offer it. */
  readonly tls: boolean;
  readonly login: { readonly user: string; readonly password: string } | undefined;
}

const DEFAULT_PORT = '4222';
/** More would only be tried in turn for longer. */
const MAX_SERVERS = 16;
/** Of URLs and of names: part of the name of each subject and bucket. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/;

/**
 * `nats://[USER:PASSWORD@]HOST[:PORT]` or `tls://…`, several separated by commas, which need the same login.
 * @throws WstunError bad-cluster. Its text never holds a URL, which may hold a password.
 */
export function parseNatsUrls(texts: readonly string[]): NatsServers {
  const urls = texts.flatMap((text) => text.split(',')).map(parseUrl);
  if (urls.length > MAX_SERVERS) throw new WstunError('bad-cluster', `there are more than ${MAX_SERVERS}`);
  const [first] = urls;
  if (first === undefined) throw new WstunError('bad-cluster', 'none was given');
  if (urls.some(({ protocol }) => protocol !== first.protocol))
    throw new WstunError('bad-cluster', 'some begin with tls:// and some with nats://');
  const given = urls.find(({ username }) => username !== '');
  if (urls.some((url) => url.username !== '' && !isSameLogin(url, given ?? url)))
    throw new WstunError('bad-cluster', 'they have different logins');
  return {
    hosts: [...new Set(urls.map(({ hostname, port }) => `${hostname}:${port === '' ? DEFAULT_PORT : port}`))],
    tls: first.protocol === 'tls:',
    login: given && { user: decodeURIComponent(given.username), password: decodeURIComponent(given.password) },
  };
}

/** @throws WstunError bad-cluster */
export function requireClusterName(name: string): string {
  if (NAME.test(name)) return name;
  throw new WstunError('bad-cluster', 'its name must have 1 to 32 letters, digits, dashes or underscores');
}

function isSameLogin(one: URL, other: URL): boolean {
  return one.username === other.username && one.password === other.password;
}

function parseUrl(text: string): URL {
  const trimmed = text.trim();
  if (!/^(?:nats|tls):\/\/[^/]/i.test(trimmed))
    throw new WstunError('bad-cluster', 'it does not begin with nats:// or tls://, and a host');
  let url: URL;
  try {
    url = new URL(trimmed);
    decodeURIComponent(url.username + url.password);
  } catch {
    throw new WstunError('bad-cluster', 'its host, port or login cannot be read');
  }
  if (!/^\/?$/.test(url.pathname) || url.search !== '' || url.hash !== '')
    throw new WstunError('bad-cluster', 'something follows the port');
  if (url.hostname === '' || url.port === '0') throw new WstunError('bad-cluster', 'it has no host, or port 0');
  return url;
}
