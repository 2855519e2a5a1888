/**
 * For which relay a ticket is (docs/protocol.md §2.2, "Audience"): 8 bytes, as one number. Relays that share keys do
 * not share what they remember of used tickets. Pure. It is in the ticket's nonce, because the payload has no room that
 * older relays do not check; to them all of the nonce is random.
 */
import { createHash, createHmac } from 'node:crypto';

const URL_LABEL = 'wstun audience v1';
const MASK_LABEL = 'wstun ticket audience v1';
/** Of a nonce of 24 bytes. */
const RANDOM_BYTES = 16;

/** Set by the peer: the nonce of the ticket says for which relay it is. */
export const AUDIENCE_FEATURE = 0x0100;

/** Of the relay with that URL, `ws:` or `wss:`, in the form of `parseRelayUrl`. The scheme does not count. */
export function audienceOf(url: string): bigint {
  const { protocol, hostname, port, pathname } = new URL(url);
  const place = `${hostname}:${port || (protocol === 'wss:' ? '443' : '80')}${pathname.replace(/\/+$/, '')}`;
  return createHash('sha256').update(URL_LABEL).update(place).digest().readBigUInt64BE(0);
}

/** Writes it into a nonce whose other bytes are random. @param sharedKey K of the peer and the relay */
export function writeAudience(sharedKey: Uint8Array, nonce: Buffer, audience: bigint): void {
  nonce.writeBigUInt64BE(audience ^ maskOf(sharedKey, nonce), RANDOM_BYTES);
}

/** What the nonce says. It means something only if the box has the feature, and has opened with this nonce. */
export function readAudience(sharedKey: Uint8Array, nonce: Buffer): bigint {
  return nonce.readBigUInt64BE(RANDOM_BYTES) ^ maskOf(sharedKey, nonce);
}

/**
 * A mask, and no MAC of each audience: a relay with many names takes no longer to reject a ticket than one with one.
 */
function maskOf(sharedKey: Uint8Array, nonce: Buffer): bigint {
  const hmac = createHmac('sha256', sharedKey).update(MASK_LABEL).update(nonce.subarray(0, RANDOM_BYTES));
  return hmac.digest().readBigUInt64BE(0);
}
