/**
 * What the user chose, as a list of ways to a relay: an explicit proxy, what the environment says, or what a PAC file
 * says. Ways to the same proxy are made once, and keep what they know of it.
 */
import { type Clock, systemClock } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import { BoundedMap } from '../../limits/bounded-map.ts';
import type { RelayTls } from '../connection/relay-tls.ts';
import type { Lookup } from '../connection/tcp-dial.ts';
import type { Via } from '../connection/via.ts';
import { PacFile, parsePacLocation, readPacResult } from './pac.ts';
import { proxyInEnvironment } from './proxy-environment.ts';
import { describeProxy, type ProxyAddress, parseProxy } from './proxy-url.ts';
import { type ProxyAuthSource, ProxyVia } from './proxy-via.ts';

export interface ProxyChooser {
  /**
   * What to try for a relay's URL, the best first; at least one, undefined for the direct way. An explicit proxy is the
   * only one; that of the environment is followed by the direct way. Of the URL only scheme, host and port are used.
   * @throws WstunError bad-proxy, pac-unusable
   */
  proxiesFor(url: URL): Promise<readonly (Via | undefined)[]>;
  /** A proxy rejects what it was last sent: changed credentials should be tried at once. */
  readonly hasWrongPassword: boolean;
  /** The user wants none. Default: false. */
  readonly isOff?: boolean;
}

/** Of one process: those that a PAC file names. */
const MAX_PROXIES = 64;

export interface ProxyChoiceOptions {
  /** `env`, `none`, a proxy's URL, `pac+http(s)://…`, `pac+file:…`. */
  readonly choice: string;
  /** What the choice is called in faults. */
  readonly source: string;
  /** Default: none. Credentials of a proxy's URL are used where this has none. */
  readonly auth?: ProxyAuthSource;
  /** To proxies that have TLS of their own. Default: the usual authorities are trusted. */
  readonly tls?: RelayTls;
  /** For tests; default: the process's, the system's. */
  readonly environment?: NodeJS.ProcessEnv;
  readonly lookup?: Lookup;
  readonly clock?: Clock;
}

/** @throws WstunError bad-proxy */
export function createProxyChooser(options: ProxyChoiceOptions): ProxyChooser {
  const { choice, source, environment = process.env } = options;
  const vias = new Vias(options);
  const chooser = (proxiesFor: ProxyChooser['proxiesFor']): ProxyChooser => ({
    proxiesFor,
    get hasWrongPassword() {
      return vias.hasWrongPassword;
    },
  });
  if (choice === 'none') return chooser(async () => [undefined]);
  if (choice === 'env') return chooser(async (url) => byEnvironment(url, environment, vias));
  const location = parsePacLocation(choice, source);
  if (location === undefined) {
    const explicit = vias.of(parseProxy(choice, source));
    return chooser(async () => [explicit]);
  }
  const pac = new PacFile(location, options.clock ?? systemClock);
  return chooser(async (url) => readPacResult(await pac.resultFor(url)).map((proxy) => proxy && vias.of(proxy)));
}

function byEnvironment(url: URL, environment: NodeJS.ProcessEnv, vias: Vias): readonly (Via | undefined)[] {
  const found = proxyInEnvironment(url, environment);
  return found === undefined ? [undefined] : [vias.of(parseProxy(found.text, found.variable)), undefined];
}

class Vias {
  private readonly known = new BoundedMap<string, ProxyVia>(MAX_PROXIES);

  constructor(private readonly options: ProxyChoiceOptions) {}

  get hasWrongPassword(): boolean {
    return [...this.known.values()].some((via) => via.hasWrongPassword);
  }

  of(proxy: ProxyAddress): ProxyVia {
    const key = `${describeProxy(proxy)} ${proxy.credentials?.fingerprint ?? ''}`;
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const { auth, lookup, tls } = this.options;
    const credentials = async () => (await auth?.credentials()) ?? proxy.credentials;
    const via = new ProxyVia(proxy, { credentials, command: auth?.command }, lookup, tls);
    this.known.set(key, via);
    return via;
  }
}

/**
 * The proxy for what an exit dials. With TLS of its own (https://) it is rejected: it could not pass on resets.
 * @throws WstunError bad-proxy
 */
export function createVia(text: string, source: string): Via {
  const proxy = parseProxy(text, source);
  if (/^(?:env|none)$/.test(text) || proxy.kind === 'https')
    throw new WstunError('bad-proxy', `${source}: ${text === 'env' || text === 'none' ? text : describeProxy(proxy)}`, {
      fix: 'Write http://HOST:PORT, or socks4, socks4a, socks5 or socks5h in place of http.',
    });
  return new ProxyVia(proxy, { credentials: async () => proxy.credentials });
}
