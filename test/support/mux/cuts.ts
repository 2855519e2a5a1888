/** Bytes in pieces, for readers whose outcome must not depend on where they are cut. */
import fc from 'fast-check';
import { own } from '../../../src/memory/pieces.ts';

/** Where to cut: any places, few of them, or everywhere. */
export const anyCuts: fc.Arbitrary<readonly number[] | 'everywhere'> = fc.oneof(
  fc.constant('everywhere' as const),
  fc.array(fc.nat(400), { maxLength: 8 }),
);

/** None of the pieces is empty, unless the whole is. */
export function cut(bytes: Buffer, places: readonly number[] | 'everywhere'): Buffer[] {
  const all = places === 'everywhere' ? Array.from({ length: bytes.length }, (_, i) => i) : places;
  const at = [...new Set([0, ...all.filter((place) => place < bytes.length), bytes.length])].sort((a, b) => a - b);
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end));
}

export function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

/** A copy that has an owner. */
export function owned(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return own(copy);
}
