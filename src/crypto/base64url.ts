/**
 * Base64url without padding (RFC 4648 §5), read strictly: of all the texts that lenient decoders take for the same
 * bytes, exactly one is accepted, so that no one can alter a text without altering what it says. Pure.
 */

const ALPHABET = /^[A-Za-z0-9_-]*$/;

export function encodeBase64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url');
}

/** Undefined for foreign characters, padding, impossible lengths, and for set bits behind the last byte. */
export function decodeBase64url(text: string): Buffer | undefined {
  if (!ALPHABET.test(text)) return undefined;
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : undefined;
}
