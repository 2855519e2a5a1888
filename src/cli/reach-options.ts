/** What the options of reach-flags.ts mean to the library. */
import { readFileSync, statSync } from 'node:fs';
import type { ReachOptions } from '../app/reach-options.ts';
import { tellLongWait } from '../async/long-wait.ts';
import { WstunError } from '../errors.ts';
import type { HostPort } from '../net/host-port.ts';
import { fileReason } from '../state/state-dir.ts';

/** As commander has them. */
export interface ReachTexts {
  readonly tlsCa?: readonly string[];
  readonly tlsPin?: readonly string[];
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly sni?: string;
  readonly host?: string;
  readonly connectTo?: HostPort;
  readonly header?: readonly string[];
  readonly userAgent?: string;
  readonly source?: string;
  readonly ipv4?: boolean;
  readonly ipv6?: boolean;
  readonly prefer?: 'ipv4' | 'ipv6';
}

/** A file with header fields: as many bytes as all fields may have, and comments. */
const MAX_FILE_CHARS = 64 * 1024;

/** Also reads $WSTUN_HEADERS, and deletes it. @throws WstunError bad-option, bad-certificate */
export function reachOptions(given: ReachTexts): ReachOptions {
  const headers = headersOf(given.header ?? []);
  return {
    ...(given.tlsCa && { tlsCa: given.tlsCa }),
    ...(given.tlsPin && { tlsPins: given.tlsPin }),
    ...identityOf(given),
    ...(given.sni !== undefined && { sni: given.sni }),
    ...(given.host !== undefined && { hostHeader: given.host }),
    ...(given.connectTo && { connectTo: given.connectTo }),
    ...(headers && { headers }),
    ...(given.userAgent !== undefined && { userAgent: given.userAgent }),
    ...(given.source !== undefined && { source: given.source }),
    ...familyOf(given),
  };
}

function identityOf({ tlsCert, tlsKey }: ReachTexts): Pick<ReachOptions, 'tlsIdentity'> {
  if (tlsCert === undefined && tlsKey === undefined) return {};
  if (tlsCert === undefined || tlsKey === undefined)
    throw new WstunError('bad-certificate', 'only one of --tls-cert and --tls-key was given');
  return { tlsIdentity: { certFile: tlsCert, keyFile: tlsKey } };
}

function familyOf({ ipv4 = false, ipv6 = false, prefer }: ReachTexts): Pick<ReachOptions, 'family' | 'preferFamily'> {
  if (ipv4 && ipv6)
    throw new WstunError('bad-option', '--ipv4 and --ipv6 exclude each other; without both, both are used');
  return {
    ...(ipv4 && { family: 4 }),
    ...(ipv6 && { family: 6 }),
    ...(prefer && { preferFamily: prefer === 'ipv4' ? 4 : 6 }),
  };
}

/** Child processes must not inherit a secret. */
function headersOf(given: readonly string[]): Record<string, string> | undefined {
  const fromEnvironment = process.env.WSTUN_HEADERS ?? '';
  delete process.env.WSTUN_HEADERS;
  const lines = [
    ...linesOf(fromEnvironment),
    ...given.flatMap((text) => (text.startsWith('@') ? readLines(text.slice(1)) : [text])),
  ];
  if (lines.length === 0) return undefined;
  const fields = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon);
    if (colon < 1) throw new WstunError('bad-option', "--header needs 'Name: value', or @FILE with one on each line");
    if (fields.has(name)) throw new WstunError('bad-option', '--header: a field is given twice');
    fields.set(name, line.slice(colon + 1).trim());
  }
  return Object.fromEntries(fields);
}

function readLines(path: string): string[] {
  try {
    // A program may still have to write to it, and nothing can be said while it is read.
    if (statSync(path).isFIFO()) tellLongWait(`the content of ${path}`);
    const text = readFileSync(path, 'utf8');
    if (text.length <= MAX_FILE_CHARS) return linesOf(text);
  } catch (error) {
    throw new WstunError('bad-option', `--header: ${path}: ${fileReason(error)}`);
  }
  throw new WstunError('bad-option', `--header: ${path} is too long`);
}

/** Without empty lines and comments. */
function linesOf(text: string): string[] {
  return text.split(/\r?\n/).filter((line) => line.trim() !== '' && !line.startsWith('#'));
}
