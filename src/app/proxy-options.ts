/** By which proxies a client or an exit reaches its relay, and what it sends to one that asks who is there. */
import { stat } from 'node:fs/promises';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import { FileWatch, signatureOf } from '../state/file-watch.ts';
import { readSecretLine } from '../state/secret-line.ts';
import type { Reach } from '../transport/connection/reach.ts';
import { createProxyChooser, type ProxyChooser } from '../transport/proxy/proxy-choice.ts';
import { credentialsOf, type ProxyCredentials } from '../transport/proxy/proxy-credentials.ts';

export interface ProxyOptions {
  /**
   * How the relay is reached: `env`, `none`, the URL of a proxy (`http`, `https`, `socks4`, `socks4a`, `socks5`,
   * `socks5h`), or of a PAC file (`pac+https://…`, `pac+file:/…`). Default: `env`, by the variables that curl reads.
   */
  readonly proxy?: string;
  /** A file with one line, `user:password`, for the proxy. It is read again for each connection. */
  readonly proxyAuthFile?: string;
  /** A shell command that prints the value of Proxy-Authorization, for schemes that wstun does not speak. */
  readonly proxyAuthCommand?: string;
}

/** How long the file must be unchanged before it is used, ms. */
const SETTLE_MS = 100;

export interface ProxyUse {
  /** Undefined: only the direct way. */
  readonly proxies: ProxyChooser | undefined;
  stop(): Promise<void>;
}

/**
 * @param reconnect is called when there are other credentials in place of rejected ones
 * @throws WstunError bad-proxy
 */
export function useProxies(options: ProxyOptions, { tls }: Reach, reconnect: () => void, logger: Logger): ProxyUse {
  const { proxy: choice = 'env', proxyAuthFile: file, proxyAuthCommand: command } = options;
  if (choice === 'none') return { proxies: undefined, stop: async () => {} };
  const credentials = async () => (file === undefined ? undefined : await credentialsIn(file));
  const proxies = createProxyChooser({
    choice,
    source: '--proxy',
    auth: { credentials, command },
    tls: tls.forProxies(),
  });
  const onChange = () => {
    if (proxies.hasWrongPassword) reconnect();
  };
  const watch = file === undefined ? undefined : watchFile(file, onChange, logger);
  return { proxies, stop: async () => await watch?.close() };
}

/** Before anything is dialled. @throws WstunError proxy-file-unusable */
export async function checkProxyFile({ proxyAuthFile: file, proxy }: ProxyOptions): Promise<void> {
  if (file !== undefined && proxy !== 'none') await credentialsIn(file);
}

async function credentialsIn(file: string): Promise<ProxyCredentials> {
  const line = await readSecretLine(file).catch((error: unknown) => {
    throw new WstunError(
      'proxy-file-unusable',
      `${file}: ${error instanceof Error ? error.message : 'unknown reason'}`,
    );
  });
  const credentials = credentialsOf(line);
  if (credentials === undefined)
    throw new WstunError('proxy-file-unusable', `${file}: its first line is not user:password`);
  return credentials;
}

function watchFile(file: string, onChange: () => void, logger: Logger): FileWatch {
  const signature = async () => ((await stat(file).catch(() => undefined)) ? await signatureOf(file) : '');
  return new FileWatch({
    ...{ signature, seen: '', settleMs: SETTLE_MS },
    onChange: async () => onChange(),
    onFault: () => logger.debug({}, 'the file of --proxy-auth-file cannot be watched'),
  });
}
