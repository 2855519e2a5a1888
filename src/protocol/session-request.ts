/** The session exchange on a new link (docs/protocol.md §10): the client begins, resumes or joins. Pure. */
import { faultOfSessionCode, type WireFaultName, wireCodeOf } from '../errors.ts';
import { MAX_RECORD_COUNT } from './record-header.ts';

export const SESSION_ID_BYTES = 16;

const COUNT_BYTES = 6;
const REQUEST_BYTES = 1 + SESSION_ID_BYTES + COUNT_BYTES;
const ANSWER_BYTES = 2 + COUNT_BYTES;
const KINDS = ['begin', 'resume', 'join'] as const;

export interface SessionRequest {
  readonly kind: (typeof KINDS)[number];
  /** Chosen by the client at random, for the whole session. */
  readonly id: Uint8Array;
  /** Numbered records of the exit that the client has; a link that begins or resumes continues after them. */
  readonly received: number;
}

export type SessionAnswer =
  /** Numbered records of the client that the exit has. */
  { readonly received: number } | { readonly fault: WireFaultName };

export function encodeSessionRequest({ kind, id, received }: SessionRequest): Uint8Array {
  const request = Buffer.alloc(REQUEST_BYTES);
  request[0] = KINDS.indexOf(kind);
  request.set(id, 1);
  request.writeUIntBE(received, 1 + SESSION_ID_BYTES, COUNT_BYTES);
  return request;
}

/** Undefined if it is malformed. */
export function decodeSessionRequest(message: readonly Uint8Array[]): SessionRequest | undefined {
  const bytes = Buffer.concat(message);
  const kind = KINDS[bytes[0] ?? KINDS.length];
  if (bytes.length !== REQUEST_BYTES || kind === undefined) return undefined;
  const received = bytes.readUIntBE(1 + SESSION_ID_BYTES, COUNT_BYTES);
  if (kind === 'begin' && received !== 0) return undefined;
  return { kind, id: Uint8Array.from(bytes.subarray(1, 1 + SESSION_ID_BYTES)), received };
}

export function encodeSessionAnswer(answer: SessionAnswer): Uint8Array {
  const bytes = Buffer.alloc(ANSWER_BYTES);
  if ('fault' in answer) bytes.writeUInt16BE(wireCodeOf(answer.fault));
  else bytes.writeUIntBE(answer.received, 2, COUNT_BYTES);
  return bytes;
}

/** Undefined if it is malformed. */
export function decodeSessionAnswer(message: readonly Uint8Array[]): SessionAnswer | undefined {
  const bytes = Buffer.concat(message);
  if (bytes.length !== ANSWER_BYTES) return undefined;
  const code = bytes.readUInt16BE(0);
  const received = bytes.readUIntBE(2, COUNT_BYTES);
  if (code !== 0) return { fault: faultOfSessionCode(code) };
  return received <= MAX_RECORD_COUNT ? { received } : undefined;
}
