/** The pin of a TLS key: SHA-256 of its SubjectPublicKeyInfo, as text as curl writes it (RFC 7469 §2.4). Pure. */
import { createHash, type X509Certificate } from 'node:crypto';

/** `sha256/` and base64 of 32 bytes. */
export type Pin = string;

const PREFIX = 'sha256/';
const PIN_BYTES = 32;

/** Two slashes, as curl has them, are one; undefined: it is no pin. */
export function parsePin(text: string): Pin | undefined {
  const base64 = /^sha256\/\/?([A-Za-z0-9+/]{43}=)$/.exec(text)?.[1];
  const bytes = Buffer.from(base64 ?? '', 'base64');
  return bytes.length === PIN_BYTES && bytes.toString('base64') === base64 ? formatPin(bytes) : undefined;
}

/** @param hash 32 bytes */
export function formatPin(hash: Uint8Array): Pin {
  return PREFIX + Buffer.from(hash).toString('base64');
}

/** 32 bytes. */
export function bytesOfPin(pin: Pin): Buffer {
  return Buffer.from(pin.slice(PREFIX.length), 'base64');
}

/** Undefined for a key that this Node cannot read. */
export function pinOf(certificate: X509Certificate): Pin | undefined {
  try {
    const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
    return formatPin(createHash('sha256').update(spki).digest());
  } catch {
    return undefined;
  }
}
