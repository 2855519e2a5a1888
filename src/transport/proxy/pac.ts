/**
 * PAC files: where they are, when they are read again, and what their results mean. A script sees scheme, host and port
 * of the relay: the path of its URL holds a ticket.
 */
import { readFile, stat } from 'node:fs/promises';
import { isAbsolute } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import { reasonOf } from '../connection/relay-dial-faults.ts';
import { PacSandbox } from './pac-sandbox.ts';
import { type ProxyAddress, parseProxy, percentDecoded, withoutUserInfo } from './proxy-url.ts';

/** Of a PAC file, bytes: large ones of companies have some hundred KiB. */
const MAX_PAC_BYTES = 1024 * 1024;
/** For fetching it, ms. */
const FETCH_LIMIT_MS = 10_000;
/** How long one that was fetched is used, ms. */
const FRESH_MS = 10 * 60_000;
/** Of one result. */
const MAX_WAYS = 8;

/** An http(s) URL, or the path of a file. */
export type PacLocation = { readonly url: URL } | { readonly path: string };

/** Undefined if the text is no `pac+…`. @throws WstunError bad-proxy */
export function parsePacLocation(text: string, source: string): PacLocation | undefined {
  if (!/^pac\+/i.test(text)) return undefined;
  const address = text.slice('pac+'.length);
  if (/^file:/i.test(address)) {
    const path = /^file:\/\//i.test(address) ? pathOf(address) : address.slice('file:'.length);
    if (path !== undefined && isAbsolute(path)) return { path };
  } else if (/^https?:\/\//i.test(address) && URL.canParse(address)) return { url: new URL(address) };
  throw new WstunError('bad-proxy', `${source}: ${JSON.stringify(withoutUserInfo(text))}`);
}

function pathOf(address: string): string | undefined {
  try {
    return fileURLToPath(address);
  } catch {
    return undefined;
  }
}

/** `PROXY a:1; SOCKS5 b:2; DIRECT` as a list, undefined for DIRECT. What cannot be read is left out. */
export function readPacResult(text: string): readonly (ProxyAddress | undefined)[] {
  const kinds: Readonly<Record<string, string>> = {
    ...{ PROXY: 'http', HTTP: 'http', HTTPS: 'https' },
    // As browsers: names are resolved by the proxy.
    ...{ SOCKS: 'socks4a', SOCKS4: 'socks4a', SOCKS5: 'socks5h' },
  };
  const found: (ProxyAddress | undefined)[] = [];
  for (const entry of text.split(';')) {
    const [kind = '', place = ''] = entry.trim().split(/\s+/);
    if (found.length >= MAX_WAYS || kind === '') continue;
    if (kind.toUpperCase() === 'DIRECT') found.push(undefined);
    const scheme = kinds[kind.toUpperCase()];
    const proxy =
      scheme && proxyOf(`${scheme}://${hasPort(place) ? place : `${place}:${scheme === 'http' ? 80 : ''}`}`);
    if (proxy) found.push(proxy);
  }
  // "null" and the empty text mean the direct way.
  if (found.length === 0 && /^\s*(?:null|undefined)?\s*$/.test(text)) return [undefined];
  if (found.length === 0) throw new WstunError('pac-unusable', 'its result names no way that wstun knows');
  return found;
}

function hasPort(place: string): boolean {
  return /:\d+$/.test(place);
}

function proxyOf(text: string): ProxyAddress | undefined {
  try {
    return parseProxy(text.replace(/:$/, ''), 'PAC');
  } catch {
    return undefined;
  }
}

interface Loaded {
  readonly sandbox: PacSandbox;
  readonly signature: string;
  readonly at: number;
}

export class PacFile {
  private loaded: Loaded | undefined;
  private loading: Promise<Loaded> | undefined;
  private readonly name: string;

  constructor(
    private readonly location: PacLocation,
    private readonly clock: Clock,
  ) {
    this.name = 'path' in location ? location.path : `${location.url.protocol}//${location.url.host}`;
  }

  /** What FindProxyForURL returns. @param url of a relay. @throws WstunError pac-unusable */
  async resultFor(url: URL): Promise<string> {
    const { sandbox } = await this.load();
    const port = url.port === '' ? '' : `:${url.port}`;
    // Scripts test for http and https; browsers show them ws: as it is, but no script of a company expects that.
    const shown = `${url.protocol === 'wss:' ? 'https' : 'http'}://${url.hostname}${port}/`;
    try {
      return await sandbox.resultFor(shown, url.hostname.replace(/^\[|\]$/g, ''));
    } catch {
      throw new WstunError('pac-unusable', `${this.name}: its FindProxyForURL fails`);
    }
  }

  /** The one that works stays while another cannot be read. */
  private async load(): Promise<Loaded> {
    const { loaded } = this;
    if (loaded !== undefined && (await this.isFresh(loaded))) return loaded;
    this.loading ??= this.read().finally(() => {
      this.loading = undefined;
    });
    try {
      this.loaded = await this.loading;
      return this.loaded;
    } catch (error) {
      if (loaded === undefined) throw error;
      return loaded;
    }
  }

  private async isFresh({ signature, at }: Loaded): Promise<boolean> {
    if ('path' in this.location) return signature === (await signatureOf(this.location.path));
    return this.clock.now() - at < FRESH_MS;
  }

  private async read(): Promise<Loaded> {
    const { location } = this;
    const signature = 'path' in location ? await signatureOf(location.path) : '';
    const script = await ('path' in location ? readScript(location.path) : fetchScript(location.url)).catch(
      (error: unknown) => {
        const reason = error instanceof Error ? (reasonIn(error) ?? error.message) : 'it cannot be read';
        throw new WstunError('pac-unusable', `${this.name}: ${reason}`);
      },
    );
    const sandbox = await PacSandbox.load(script, this.clock).catch(() => {
      throw new WstunError('pac-unusable', `${this.name}: it is not a script with FindProxyForURL`);
    });
    return { sandbox, signature, at: this.clock.now() };
  }
}

/** For faults, which must not repeat a URL. */
function reasonIn(error: Error): string | undefined {
  const cause = error.cause instanceof Error ? error.cause : error;
  if (!('code' in cause)) return undefined;
  return cause.code === 'ENOENT' ? 'it does not exist' : reasonOf(String(cause.code));
}

async function signatureOf(path: string): Promise<string> {
  return await stat(path, { bigint: true }).then(
    ({ ino, size, mtimeNs }) => `${ino}:${size}:${mtimeNs}`,
    () => 'none',
  );
}

async function readScript(path: string): Promise<string> {
  if ((await stat(path)).size > MAX_PAC_BYTES) throw new Error('it is over 1 MiB');
  return await readFile(path, 'utf8');
}

/** Directly: it is what says how else. */
async function fetchScript(url: URL): Promise<string> {
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  const headers = url.username === '' ? {} : { authorization: basicOf(url) };
  const answer = await fetch(bare, { headers, signal: AbortSignal.timeout(FETCH_LIMIT_MS) });
  if (!answer.ok || answer.body === null) throw new Error(`HTTP ${answer.status}`);
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of answer.body) {
    bytes += piece.length;
    if (bytes > MAX_PAC_BYTES) throw new Error('it is over 1 MiB');
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}

function basicOf({ username, password }: URL): string {
  return `Basic ${Buffer.from(`${percentDecoded(username)}:${percentDecoded(password)}`).toString('base64')}`;
}
