/** How a client or an exit reaches its relay, as options: checks them once, reads their files, and makes a `Reach`. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import type { Invite } from '../crypto/invite.ts';
import { WstunError } from '../errors.ts';
import type { HostPort } from '../net/host-port.ts';
import type { Logger } from '../observability/logger.ts';
import { readGivenFile } from '../state/given-file.ts';
import { fileReason } from '../state/state-dir.ts';
import { familyOf } from '../transport/connection/address-family.ts';
import type { Reach } from '../transport/connection/reach.ts';
import { RelayTls } from '../transport/connection/relay-tls.ts';
import { splitPem } from '../transport/connection/system-certificates.ts';
import { formatPin, type Pin, parsePin } from '../transport/connection/tls-pin.ts';
import type { ProxyOptions } from './proxy-options.ts';
import { requestFieldsOf } from './request-fields.ts';

export interface ReachOptions {
  /**
   * Paths of PEM files with certificates of authorities to trust, besides the usual ones, for the relay and for a proxy
   * with TLS. Default: none.
   */
  readonly tlsCa?: readonly string[];
  /**
   * `sha256/` and the base64 of SHA-256 of a key's SubjectPublicKeyInfo, as curl writes it. Only certificates with
   * these keys are accepted, whatever their issuer, name and dates. Default: the invite's, besides those that are
   * trusted.
   */
  readonly tlsPins?: readonly string[];
  /** Paths of PEM files: the certificate that is shown to a server that demands one. Default: none. */
  readonly tlsIdentity?: { readonly certFile: string; readonly keyFile: string };
  /** The server name that TLS sends; `none`: none. Default: the host of the relay's URL. */
  readonly sni?: string;
  /** The `Host` of requests. Default: that of the relay's URL. */
  readonly hostHeader?: string;
  /** TCP goes there; TLS name and `Host` stay. Default: the host and port of the relay's URL. */
  readonly connectTo?: HostPort;
  /** Further header fields of requests, at most 32 with 8 KiB together; none that the handshake needs. */
  readonly headers?: Readonly<Record<string, string>>;
  /** `User-Agent` of requests. Default: none. */
  readonly userAgent?: string;
  /** A local IP address, or a network interface, from which connections are made. Default: the system chooses. */
  readonly source?: string;
  /** 4 or 6: only addresses of this version of IP are used. Default: both. */
  readonly family?: 4 | 6;
  /** 4 or 6: addresses of this version are tried first. Default: in the order of the system. */
  readonly preferFamily?: 4 | 6;
}

const HOST_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*$/;

export interface ReachContext {
  readonly logger: Logger;
  /** The records are not encrypted, so that whoever ends TLS can read them. Default: false. */
  readonly unsealed?: boolean;
}

/** @throws WstunError bad-option, bad-certificate, encryption-needed */
export async function reachOf(
  options: ReachOptions & Pick<ProxyOptions, 'proxy'>,
  invite: Pick<Invite, 'relayUrls' | 'tlsPins'>,
  { logger, unsealed = false }: ReachContext,
): Promise<Reach> {
  refuseWithoutTls(options, invite.relayUrls);
  if (unsealed && options.tlsCa !== undefined)
    throw new WstunError('encryption-needed', 'whoever has the key of that authority could read the data (--tls-ca)', {
      fix: 'Use --encryption on, or give the pin of the relay’s key in place of the authority: --tls-pin sha256/….',
    });
  const tls = new RelayTls({
    ca: (await Promise.all((options.tlsCa ?? []).map(readCertificates))).flat(),
    pins: (invite.tlsPins ?? []).map(formatPin),
    onlyPins: (options.tlsPins ?? []).map(requirePin),
    identity: options.tlsIdentity && (await readIdentity(options.tlsIdentity)),
    sni: serverName(options.sni),
    unsealed,
  });
  requireSource(options, logger);
  if (options.connectTo?.port === 0) throw new WstunError('bad-option', '--connect-to needs a port from 1 to 65535');
  const { connectTo, source, family, preferFamily: prefer } = options;
  const fields = requestFieldsOf(options);
  return { tls, connectTo, source, family, prefer, fields: () => fields };
}

const REACH_NAMES: readonly (keyof ReachOptions)[] = [
  ...(['tlsCa', 'tlsPins', 'tlsIdentity', 'sni', 'hostHeader', 'connectTo'] as const),
  ...(['headers', 'userAgent', 'source', 'family', 'preferFamily'] as const),
];

/** A browser has its own certificates, names and addresses. */
export function warnOfPages(options: ReachOptions, { tlsPins = [] }: Pick<Invite, 'tlsPins'>, logger: Logger): void {
  if (REACH_NAMES.some((name) => options[name] !== undefined))
    logger.warn({}, 'links that a browser carries do not follow the options of how the relay is reached');
  if (tlsPins.length > 0)
    logger.warn({}, 'a browser knows no pins: it rejects the relay if its certificate is self-signed');
}

/** A check that is never made must not look as if it were. */
function refuseWithoutTls(options: ReachOptions & Pick<ProxyOptions, 'proxy'>, urls: readonly string[]): void {
  const { tlsCa, tlsPins, tlsIdentity, sni, proxy } = options;
  const plain = urls.filter((url) => !url.startsWith('wss:'));
  if (tlsPins !== undefined && plain.length > 0)
    throw new WstunError('bad-option', `--tls-pin needs TLS, and the invite has a URL without it: ${plain[0]}`);
  const isForProxy = proxy?.startsWith('https:') === true;
  const given = [tlsCa && !isForProxy && '--tls-ca', tlsIdentity && '--tls-cert', sni && '--sni'].filter(Boolean);
  if (plain.length === urls.length && given.length > 0)
    throw new WstunError('bad-option', `${given.join(', ')}: the relay of this invite is reached without TLS (ws://)`);
}

async function readCertificates(path: string): Promise<readonly string[]> {
  const found = splitPem(await readPem(path, '--tls-ca'));
  if (found.length === 0)
    throw new WstunError('bad-option', `--tls-ca: ${path} has no certificate in PEM (-----BEGIN CERTIFICATE-----)`);
  for (const pem of found) {
    try {
      new X509Certificate(pem);
    } catch {
      throw new WstunError('bad-option', `--tls-ca: a certificate in ${path} cannot be read`);
    }
  }
  return found;
}

async function readIdentity({ certFile, keyFile }: { certFile: string; keyFile: string }) {
  const cert = await readPem(certFile, '--tls-cert');
  const key = await readPem(keyFile, '--tls-key');
  try {
    if (new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) return { cert, key };
  } catch {
    const isLocked = /^-----BEGIN ENCRYPTED |^Proc-Type: 4,ENCRYPTED/m.test(key);
    const reason = isLocked ? 'the key has a passphrase: remove it with `openssl pkey`' : 'they are not PEM';
    throw new WstunError('bad-certificate', `--tls-cert ${certFile}, --tls-key ${keyFile}: ${reason}`);
  }
  throw new WstunError('bad-certificate', `--tls-cert ${certFile}, --tls-key ${keyFile}: they do not belong together`);
}

async function readPem(path: string, option: string): Promise<string> {
  try {
    return await readGivenFile(path);
  } catch (error) {
    throw new WstunError('bad-option', `${option}: ${path}: ${fileReason(error)}`);
  }
}

/** @throws WstunError bad-option */
export function requirePin(text: string): Pin {
  const pin = parsePin(text);
  if (pin === undefined)
    throw new WstunError('bad-option', '--tls-pin needs sha256/ and 44 characters of base64, as `curl --pinnedpubkey`');
  return pin;
}

/** As TLS has it; empty: none. @throws WstunError bad-option */
export function serverName(sni: string | undefined): string | undefined {
  if (sni === 'none' || sni === undefined) return sni && '';
  if (!HOST_NAME.test(sni) || familyOf(sni) !== undefined)
    throw new WstunError('bad-option', '--sni needs a host name, or none; an address is no server name');
  return sni.toLowerCase();
}

function requireSource({ source, family, preferFamily: prefer }: ReachOptions, logger: Logger): void {
  if (family !== undefined && prefer !== undefined && family !== prefer)
    throw new WstunError('bad-option', `--prefer ipv${prefer} contradicts --ipv${family}`);
  if (source === undefined) return;
  const version = familyOf(source);
  if (version !== undefined && family !== undefined && version !== family)
    throw new WstunError('bad-option', `--source is an IPv${version} address, which contradicts --ipv${family}`);
  if (version !== undefined) return;
  if (!/^[^/\p{Cc}]{1,64}$/u.test(source))
    throw new WstunError('bad-option', '--source needs an IP address, or the name of a network interface');
  const names = Object.keys(networkInterfaces());
  // At boot, or before a network is joined, it may be missing for a while.
  if (!names.includes(source))
    logger.warn({ source }, `--source: no interface of that name has an address at the moment (${names.join(', ')})`);
}
