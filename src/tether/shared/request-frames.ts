/**
 * The messages of a local connection that carries requests (docs/tether-protocol.md §6.1): the laptop has the page make
 * them, and gets their answers. Pure; both ends run this code.
 */

/** What follows the type and the number of a request. */
const HEAD_BYTES = 5;
/** Of content in one message, which has at most 65,535 bytes. */
export const MAX_PART_BYTES = 60_000;
/** Content of one request. */
export const MAX_REQUEST_BODY_BYTES = 524_288;
/** Requests under way on one local connection. */
export const MAX_REQUESTS = 32;
/** Of an answer: what the laptop has not granted again. Then the page stops reading. */
export const ANSWER_WINDOW_BYTES = 262_144;
/** All fields of an answer that a page can see. */
const MAX_FIELDS_BYTES = 8_192;

const TYPE = { begin: 1, part: 2, send: 3, abort: 4, credit: 5, head: 0x81, answerPart: 0x82, end: 0x83, failed: 0x84 };
const METHODS = ['GET', 'POST'] as const;

/** From the laptop. */
export type LaptopFrame =
  /** A request without content is made at once. */
  | { readonly type: 'begin'; readonly id: number; readonly method: 'GET' | 'POST'; readonly url: string }
  | { readonly type: 'part'; readonly id: number; readonly bytes: Uint8Array }
  /** The content of a POST is complete. */
  | { readonly type: 'send'; readonly id: number }
  | { readonly type: 'abort'; readonly id: number }
  | { readonly type: 'credit'; readonly id: number; readonly bytes: number };

/** From the page. */
export type PageFrame =
  | {
      readonly type: 'head';
      readonly id: number;
      readonly status: number;
      readonly fields: Readonly<Record<string, string>>;
    }
  | { readonly type: 'answerPart'; readonly id: number; readonly bytes: Uint8Array }
  | { readonly type: 'end'; readonly id: number }
  | { readonly type: 'failed'; readonly id: number };

export function encodeLaptopFrame(frame: LaptopFrame): Uint8Array {
  if (frame.type === 'part') return framed(TYPE.part, frame.id, frame.bytes);
  if (frame.type === 'credit') return framed(TYPE.credit, frame.id, u32(frame.bytes));
  if (frame.type !== 'begin') return framed(TYPE[frame.type], frame.id, new Uint8Array(0));
  const url = new TextEncoder().encode(frame.url);
  const content = new Uint8Array(1 + url.length);
  content[0] = METHODS.indexOf(frame.method);
  content.set(url, 1);
  return framed(TYPE.begin, frame.id, content);
}

/** Undefined for anything that a laptop of this version would not have sent. */
export function decodeLaptopFrame(message: Uint8Array): LaptopFrame | undefined {
  const { type, id, content } = opened(message);
  if (type === TYPE.begin) {
    const method = METHODS[content[0] ?? -1];
    const url = textOf(content.subarray(1));
    return method === undefined || url === undefined || !/^https?:\/\/[^\s#]+$/.test(url)
      ? undefined
      : { type: 'begin', id, method, url };
  }
  if (type === TYPE.part) return { type: 'part', id, bytes: content };
  if (type === TYPE.credit)
    return content.length === 4 ? { type: 'credit', id, bytes: readU32(content, 0) } : undefined;
  if (content.length > 0) return undefined;
  if (type === TYPE.send) return { type: 'send', id };
  return type === TYPE.abort ? { type: 'abort', id } : undefined;
}

export function encodePageFrame(frame: PageFrame): Uint8Array {
  if (frame.type === 'answerPart') return framed(TYPE.answerPart, frame.id, frame.bytes);
  if (frame.type !== 'head') return framed(TYPE[frame.type], frame.id, new Uint8Array(0));
  const fields = new TextEncoder().encode(JSON.stringify(frame.fields));
  const shown = fields.length > MAX_FIELDS_BYTES ? new TextEncoder().encode('{}') : fields;
  const content = new Uint8Array(2 + shown.length);
  content.set([frame.status >> 8, frame.status & 0xff]);
  content.set(shown, 2);
  return framed(TYPE.head, frame.id, content);
}

/** Undefined for anything that a page of this version would not have sent. */
export function decodePageFrame(message: Uint8Array): PageFrame | undefined {
  const { type, id, content } = opened(message);
  if (type === TYPE.answerPart) return { type: 'answerPart', id, bytes: content };
  if (type === TYPE.head) {
    const fields = fieldsOf(content.subarray(2));
    return content.length < 2 || fields === undefined
      ? undefined
      : { type: 'head', id, status: ((content[0] ?? 0) << 8) | (content[1] ?? 0), fields };
  }
  if (content.length > 0) return undefined;
  if (type === TYPE.end) return { type: 'end', id };
  return type === TYPE.failed ? { type: 'failed', id } : undefined;
}

function framed(type: number, id: number, content: Uint8Array): Uint8Array {
  const message = new Uint8Array(HEAD_BYTES + content.length);
  message[0] = type;
  message.set(u32(id), 1);
  message.set(content, HEAD_BYTES);
  return message;
}

function opened(message: Uint8Array) {
  const isWhole = message.length >= HEAD_BYTES;
  return { type: isWhole ? message[0] : undefined, id: readU32(message, 1), content: message.subarray(HEAD_BYTES) };
}

function u32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

function readU32(bytes: Uint8Array, at: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = bytes.subarray(at, at + 4);
  return a * 2 ** 24 + ((b << 16) | (c << 8) | d);
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function fieldsOf(bytes: Uint8Array): Readonly<Record<string, string>> | undefined {
  if (bytes.length > MAX_FIELDS_BYTES) return undefined;
  try {
    const value: unknown = JSON.parse(textOf(bytes) ?? '');
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    const fields = Object.entries(value);
    return fields.every(([, text]) => typeof text === 'string') ? Object.fromEntries(fields) : undefined;
  } catch {
    return undefined;
  }
}
