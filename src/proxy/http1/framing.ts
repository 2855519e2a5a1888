/** Where the content of a message ends, according to its head (RFC 9112 §6.3). Only types and one rule. */

export type Framing =
  | { readonly kind: 'none' }
  /** `length`: bytes, a safe integer above 0. */
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' }
  /** Up to the end of the connection: only in responses. */
  | { readonly kind: 'close' };

export const NO_CONTENT: Framing = { kind: 'none' };

/** The value of a Content-Length; undefined if it is not a safe integer. */
export function lengthOf(value: string): number | undefined {
  const length = /^\d+$/.test(value) ? Number(value) : Number.NaN;
  return Number.isSafeInteger(length) ? length : undefined;
}

export function framingOf(length: number): Framing {
  return length === 0 ? NO_CONTENT : { kind: 'length', length };
}
