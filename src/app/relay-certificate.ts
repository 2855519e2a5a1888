/**
 * The certificate of a relay: files of its owner, one that it makes itself, or one of an authority (acme.ts). And the
 * pins that invites get of it.
 */

import { X509Certificate } from 'node:crypto';
import { parseIp } from '../net/ip.ts';
import type { Logger } from '../observability/logger.ts';
import type { TlsPair } from '../relay/relay-server.ts';
import type { TlsChallenges } from '../relay/tls-challenges.ts';
import { SelfSignedCertificate } from '../state/self-signed-certificate.ts';
import type { StateDir } from '../state/state-dir.ts';
import { type Pin, pinOf } from '../transport/connection/tls-pin.ts';
import { hostOf } from './public-url.ts';
import { TlsFiles } from './tls-files.ts';

/** Paths of PEM files, or a certificate that the relay makes and renews. */
export type TlsChoice = { readonly certFile: string; readonly keyFile: string } | 'self-signed';

export interface RelayCertificate {
  /** Undefined: there is none yet. @throws WstunError bad-certificate, state-unusable */
  read(): Promise<TlsPair | undefined>;
  /** Passes each new pair to `use`, until `stop`. */
  follow(use: (pair: TlsPair) => void, logger: Logger): void;
  stop(): void;
}

/** One of an authority. */
export interface OrderedCertificate extends RelayCertificate {
  /** Its names, the first one first. */
  readonly hosts: readonly string[];
  /** For the servers of the relay. */
  readonly challenges: TlsChallenges;
  /** Answers challenges over HTTP where that was asked for. @throws WstunError cannot-listen */
  listen(): Promise<void>;
  /** Resolves when nothing is under way any more. */
  stop(): Promise<void>;
}

/** @param hosts by which clients reach the relay, without brackets; a certificate that it makes shows them to all */
export function relayCertificate(choice: TlsChoice, state: StateDir, hosts: readonly string[]): RelayCertificate {
  if (choice !== 'self-signed') return new TlsFiles(choice.certFile, choice.keyFile);
  return new SelfSignedCertificate(state, [...new Set(hosts)]);
}

/** Of a certificate for which no authority vouches. One of an authority has a new key each time it is renewed: none. */
export function pinsOf({ cert }: TlsPair): readonly Pin[] {
  const certificate = new X509Certificate(cert);
  const isSelfSigned = certificate.issuer === certificate.subject && certificate.verify(certificate.publicKey);
  const pin = isSelfSigned ? pinOf(certificate) : undefined;
  return pin === undefined ? [] : [pin];
}

/** Why clients of these URLs reject a certificate that an authority vouches for; undefined: its name is right. */
export function nameFault({ cert }: TlsPair, urls: readonly string[]): string | undefined {
  const certificate = new X509Certificate(cert);
  const isFor = (host: string) =>
    (parseIp(host) === undefined ? certificate.checkHost(host) : certificate.checkIP(host)) !== undefined;
  const host = urls
    .filter((url) => url.startsWith('wss:'))
    .map(hostOf)
    .find((each) => !isFor(each));
  if (host === undefined) return undefined;
  const names = certificate.subjectAltName?.replace(/\b(?:DNS|IP Address):/g, '') ?? 'no name';
  const mend = 'if a name in it is right, give --url wss://NAME';
  const fault = `the certificate is for ${names}, and not for ${host}`;
  return `${fault}: clients reject it, unless a proxy in front shows another one; ${mend}`;
}
