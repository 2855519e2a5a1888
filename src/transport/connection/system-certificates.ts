/**
 * The certificates that a client trusts: those that Node brings, those of NODE_EXTRA_CA_CERTS, and those of the system,
 * where a company puts its own. Read once, at the first TLS connection: 10 to 50 ms, and 1 MB.
 */
import { readFileSync, statSync } from 'node:fs';
import * as tls from 'node:tls';

/** Where systems have all certificates that they trust in one file; the first that exists is read. */
const BUNDLES: readonly string[] = [
  // Debian, Alpine, Arch
  '/etc/ssl/certs/ca-certificates.crt',
  // Fedora, Red Hat
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/pki/tls/certs/ca-bundle.crt',
  // openSUSE
  '/etc/ssl/ca-bundle.pem',
  // FreeBSD, OpenBSD, Alpine, macOS
  '/etc/ssl/cert.pem',
];

/** A bundle has 200 to 300 KB. */
const MAX_BUNDLE_BYTES = 8 * 1024 * 1024;

let certificates: readonly string[] | undefined;

/** PEM, one certificate each. A file that cannot be read is as good as none. */
export function trustedCertificates(): readonly string[] {
  certificates ??= unique([...nodesCertificates(), ...systemCertificates()]);
  return certificates;
}

/** As of Node 22.15 and 24; it follows --use-openssl-ca and the like. */
const { getCACertificates } = tls as { getCACertificates?: (type: 'default' | 'system') => string[] };

function nodesCertificates(): readonly string[] {
  return getCACertificates?.('default') ?? [...tls.rootCertificates, ...extraCertificates()];
}

/** The certificates in a PEM text. */
export function splitPem(text: string): readonly string[] {
  return (
    text.match(/-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^-]+-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g) ?? []
  );
}

function extraCertificates(): readonly string[] {
  const file = process.env.NODE_EXTRA_CA_CERTS;
  return file === undefined ? [] : readBundle(file);
}

function systemCertificates(): readonly string[] {
  const named = process.env.SSL_CERT_FILE;
  if (named !== undefined && named !== '') return readBundle(named);
  for (const path of BUNDLES) {
    const found = readBundle(path);
    if (found.length > 0) return found;
  }
  return certificatesOfStore();
}

/** Windows and macOS have a store in place of a file. */
function certificatesOfStore(): readonly string[] {
  return getCACertificates?.('system') ?? [];
}

function readBundle(path: string): readonly string[] {
  try {
    return statSync(path).size > MAX_BUNDLE_BYTES ? [] : splitPem(readFileSync(path, 'utf8'));
  } catch {
    return [];
  }
}

/** Most of the system's are Node's as well, with lines of another length. */
function unique(all: readonly string[]): readonly string[] {
  const known = new Map<string, string>();
  for (const pem of all) {
    const key = pem.replace(/\s+/g, '');
    if (!known.has(key)) known.set(key, pem);
  }
  return [...known.values()];
}
