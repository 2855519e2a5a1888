/** Where the content of a message ends, once its head has said so (RFC 9112 §6.3). Types and one rule alone. */

export type Framing =
  | { readonly kind: 'none' }
  /** `length`: bytes, a safe integer above 0. */
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' }
  /** Up to the end of the connection: answers alone. */
  | { readonly kind: 'close' };

export const NO_CONTENT: Framing = { kind: 'none' };

/** What a Content-Length says; undefined if it is no number, or one that cannot be counted to. */
export function lengthOf(value: string): number | undefined {
  const length = /^\d+$/.test(value) ? Number(value) : Number.NaN;
  return Number.isSafeInteger(length) ? length : undefined;
}

export function framingOf(length: number): Framing {
  return length === 0 ? NO_CONTENT : { kind: 'length', length };
}
