/** RELAYS: what an exit tells its clients of other relays, as bytes (docs/protocol.md §6.1). Pure. */

/** Most URLs of one frame, and most pins. */
const MAX_URLS = 8;
const MAX_PINS = 8;
const MAX_URL_BYTES = 1024;
const PIN_BYTES = 32;

/** The longest payload. */
export const MAX_RELAYS_BYTES = 1 + MAX_URLS * (2 + MAX_URL_BYTES) + 1 + MAX_PINS * PIN_BYTES;

export interface ToldRelays {
  /** 1 to 8, best first, each once. Whether they are URLs at all is for the caller to check. */
  readonly urls: readonly string[];
  /** Of their TLS keys, 0 to 8, 32 bytes each. */
  readonly pins: readonly Uint8Array[];
}

/** @throws RangeError */
export function encodeRelays({ urls, pins }: ToldRelays): Buffer {
  if (!isInRange(urls.length, 1, MAX_URLS) || pins.length > MAX_PINS) throw new RangeError('1 to 8 URLs, 0 to 8 pins');
  const encoded = urls.map((url) => Buffer.from(url, 'latin1'));
  if (encoded.some(({ length }, at) => !isInRange(length, 1, MAX_URL_BYTES) || !isText(urls[at] ?? '')))
    throw new RangeError('a URL has 1 to 1,024 characters of ASCII');
  if (pins.some(({ length }) => length !== PIN_BYTES)) throw new RangeError('a pin has 32 bytes');
  const listed = encoded.map((url) => Buffer.concat([u16(url.length), url]));
  return Buffer.concat([Uint8Array.of(urls.length), ...listed, Uint8Array.of(pins.length), ...pins]);
}

/** Undefined for anything that is not written so: it is a hint, and no reason to end a session. */
export function decodeRelays(payload: Buffer): ToldRelays | undefined {
  const count = payload[0] ?? 0;
  if (!isInRange(count, 1, MAX_URLS)) return undefined;
  const urls: string[] = [];
  let at = 1;
  for (let left = count; left > 0; left -= 1) {
    if (at + 2 > payload.length) return undefined;
    const end = at + 2 + payload.readUInt16BE(at);
    const url = payload.toString('latin1', at + 2, end);
    if (end > payload.length || !isInRange(end - at - 2, 1, MAX_URL_BYTES) || !isText(url)) return undefined;
    urls.push(url);
    at = end;
  }
  const pins = pinsIn(payload.subarray(at));
  return pins === undefined || new Set(urls).size < urls.length ? undefined : { urls, pins };
}

function pinsIn(rest: Buffer): readonly Uint8Array[] | undefined {
  const count = rest[0] ?? MAX_PINS + 1;
  if (count > MAX_PINS || rest.length !== 1 + count * PIN_BYTES) return undefined;
  return Array.from({ length: count }, (_, at) =>
    Uint8Array.from(rest.subarray(1 + at * PIN_BYTES, 1 + (at + 1) * PIN_BYTES)),
  );
}

function isInRange(value: number, least: number, most: number): boolean {
  return value >= least && value <= most;
}

/** Characters of ASCII that can be seen. */
function isText(url: string): boolean {
  return /^[!-~]+$/.test(url);
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}
