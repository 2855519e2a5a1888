/** The environment variables by which programs find the proxy of a client. Pure. */
import { formatHostPort, type HostPort } from '../net/host-port.ts';

export interface ProxyUse {
  /** Where programs reach the proxy. */
  readonly address: HostPort;
  /** Only if it requires them. */
  readonly credentials?: { readonly user: string; readonly pass: string } | undefined;
  /** False: without the variables of SOCKS, for programs that fail when they find these. Default: true. */
  readonly socks?: boolean | undefined;
}

/** Loopback is never meant to go through a tunnel. */
const NO_PROXY = 'localhost,127.0.0.1,::1';

/**
 * What a shell sets. Programs that know SOCKS read ALL_PROXY, but prefer what is set for a scheme; most others read
 * only the latter, some in lower case (curl, wget), some in upper case. Node's own fetch and http need the flag (22.21,
 * 24.5 and later). By WSTUN_ENV wstun knows that these proxies lead into a tunnel, and not to its relay.
 */
export function proxyEnvironment(use: ProxyUse): Readonly<Record<string, string>> {
  const http = proxyUrl('http', use);
  const socks = proxyUrl('socks5h', use);
  return {
    ...(use.socks === false ? {} : { ALL_PROXY: socks, all_proxy: socks }),
    ...{ HTTP_PROXY: http, http_proxy: http, HTTPS_PROXY: http, https_proxy: http },
    ...{ NO_PROXY, no_proxy: NO_PROXY },
    NODE_USE_ENV_PROXY: '1',
    WSTUN_ENV: formatHostPort(use.address),
  };
}

/**
 * For one program: also what comes before a proxy in a configuration file of pip, npm, Yarn and Cargo, which would go
 * past the tunnel. Yarn ends with an error if it finds a YARN_NO_PROXY.
 */
function programEnvironment(use: ProxyUse): Readonly<Record<string, string>> {
  const http = proxyUrl('http', use);
  return {
    ...proxyEnvironment(use),
    PIP_PROXY: http,
    ...{ npm_config_proxy: http, npm_config_https_proxy: http, npm_config_noproxy: NO_PROXY },
    ...{ YARN_HTTP_PROXY: http, YARN_HTTPS_PROXY: http },
    CARGO_HTTP_PROXY: http,
  };
}

/** Set by someone else, these would lead a program past the tunnel, or into another one. */
const OF_OTHER_PROXIES = ['FTP_PROXY', 'ftp_proxy', 'SOCKS_PROXY', 'socks_proxy', 'SOCKS_SERVER', 'GIT_PROXY_COMMAND'];
/** Of ours, which hold secrets, only these may be seen by a program: a wstun that it starts needs them. */
const PASSED_ON: ReadonlySet<string> = new Set(['WSTUN_CONFIG', 'WSTUN_STATE']);

/** The environment of a program. @param env that of this process */
export function withProxy(env: NodeJS.ProcessEnv, use: ProxyUse): NodeJS.ProcessEnv {
  const ours = programEnvironment(use);
  const dropped = new Set([...OF_OTHER_PROXIES, 'ALL_PROXY', 'all_proxy']);
  const isKept = (name: string) => !dropped.has(name) && (!name.startsWith('WSTUN_') || PASSED_ON.has(name));
  const kept = Object.fromEntries(Object.entries(env).filter(([name]) => isKept(name)));
  return { ...kept, ...ours, ...gitConfiguration(env, proxyUrl('http', use)) };
}

/** `http.proxy` of a file would come before the variables. Behind what the environment configures already. */
function gitConfiguration(env: NodeJS.ProcessEnv, proxy: string): NodeJS.ProcessEnv {
  const { GIT_CONFIG_COUNT: given = '' } = env;
  const count = /^\d{1,4}$/.test(given) ? Number(given) : 0;
  return {
    GIT_CONFIG_COUNT: String(count + 1),
    [`GIT_CONFIG_KEY_${count}`]: 'http.proxy',
    [`GIT_CONFIG_VALUE_${count}`]: proxy,
  };
}

/** All that `proxyEnvironment` may set. */
export const ENVIRONMENT_NAMES: readonly string[] = Object.keys(
  proxyEnvironment({ address: { host: '127.0.0.1', port: 1080 } }),
);

function proxyUrl(scheme: 'http' | 'socks5h', { address, credentials }: ProxyUse): string {
  const who = credentials && `${encodeUserInfo(credentials.user)}:${encodeUserInfo(credentials.pass)}@`;
  return `${scheme}://${who ?? ''}${formatHostPort(address)}`;
}

/** Every byte but those that no reader of URLs takes for something else (RFC 3986 §2.3). */
function encodeUserInfo(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}
