/**
 * All that the pure rooms use beyond the language (tsconfig.pure.json): the memory functions of Node's `Buffer`, and
 * five names that browsers have too. There is no clock, timer, socket, file or process here, so the compiler rejects
 * their use.
 */

interface Buffer extends Uint8Array {
  readUInt16BE(offset?: number): number;
  readUInt32BE(offset?: number): number;
  readUIntBE(offset: number, byteLength: number): number;
  writeUInt16BE(value: number, offset?: number): number;
  writeUInt32BE(value: number, offset?: number): number;
  writeUIntBE(value: number, offset: number, byteLength: number): number;
  copy(target: Uint8Array, targetStart?: number, sourceStart?: number, sourceEnd?: number): number;
  subarray(start?: number, end?: number): Buffer;
  toString(encoding?: 'latin1', start?: number, end?: number): string;
}

declare const Buffer: {
  readonly prototype: Buffer;
  alloc(size: number, fill?: number): Buffer;
  allocUnsafe(size: number): Buffer;
  allocUnsafeSlow(size: number): Buffer;
  concat(list: readonly Uint8Array[], totalLength?: number): Buffer;
  from(text: string, encoding?: 'latin1' | 'utf8'): Buffer;
  from(bytes: ArrayLike<number>): Buffer;
  from(memory: ArrayBufferLike, byteOffset?: number, length?: number): Buffer;
};

declare class TextEncoder {
  encode(text: string): Uint8Array;
}

declare class TextDecoder {
  constructor(label?: 'utf-8', options?: { readonly fatal?: boolean; readonly ignoreBOM?: boolean });
  decode(bytes: Uint8Array): string;
}

declare function queueMicrotask(callback: () => void): void;
declare function atob(text: string): string;
declare function btoa(binary: string): string;
