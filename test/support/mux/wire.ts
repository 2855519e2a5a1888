/**
 * Frames as bytes, written from docs/protocol.md alone: what tests put on the wire must not come from the encoder under
 * test.
 */

const u = (bytes: number) => (value: number) => {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntBE(value, 0, bytes);
  return buffer;
};
const u16 = u(2);
const u24 = u(3);
const u32 = u(4);

/** Any frame, well formed or not. */
export function frame(
  type: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
  length = payload.length,
): Buffer {
  return Buffer.concat([Buffer.from([type]), u24(length), u32(stream), payload]);
}

export const wire = {
  hello: (maxStreams = 1024, version = 1, features = 0) =>
    frame(0, 0, Buffer.concat([u16(version), u16(features), u32(maxStreams)])),
  /** To a name, port 443. */
  open: (stream: number, credit = 0x10000, name = 'example.org') =>
    frame(1, stream, Buffer.concat([u32(credit), Buffer.from([1, 3]), u16(443), Buffer.from(name, 'latin1')])),
  opened: (stream: number, credit = 0x10000) => frame(2, stream, u32(credit)),
  openFailed: (stream: number, code: number) => frame(3, stream, u16(code)),
  data: (stream: number, payload: Uint8Array) => frame(4, stream, payload),
  credit: (stream: number, increment: number) => frame(5, stream, u32(increment)),
  finish: (stream: number) => frame(6, stream),
  reset: (stream: number, code = 42) => frame(7, stream, u16(code)),
  ping: (opaque = Buffer.from('ping-one')) => frame(8, 0, opaque),
  pong: (opaque = Buffer.from('pong-one')) => frame(9, 0, opaque),
  goAway: (code: number, lastStream: number) => frame(10, 0, Buffer.concat([u16(code), u32(lastStream)])),
  /** Without pins. */
  relays: (...urls: readonly string[]) => {
    const listed = urls.flatMap((url) => [u16(url.length), Buffer.from(url, 'latin1')]);
    return frame(0x83, 0, Buffer.concat([Uint8Array.of(urls.length), ...listed, Uint8Array.of(0)]));
  },
  links: (wanted: number, maxBytes = 0) => frame(0x81, 0, Buffer.concat([Uint8Array.of(wanted), u32(maxBytes)])),
} as const;
