/** The lines of the control socket (docs/control.md): one JSON object each, with the version. Pure. */
import { WstunError } from '../errors.ts';

const VERSION = 1;

/** Of a request, without the end of its line, bytes. */
export const MAX_REQUEST_BYTES = 4_096;
/** Of a reply: a thousand streams to names of 255 bytes, each written as six, have 1.8 MB. */
export const MAX_REPLY_BYTES = 4 * 1024 * 1024;

export interface ControlRequest {
  readonly request: string;
  /** Of `ping`: `host:port` to open a connection to. */
  readonly target?: string;
}

export type ControlReply =
  | { readonly reply: 'ok'; readonly data: Readonly<Record<string, unknown>> }
  | { readonly reply: 'error'; readonly code: string; readonly message: string };

export function encodeRequest(request: ControlRequest): string {
  return `${JSON.stringify({ wstun: VERSION, ...request })}\n`;
}

export function encodeData(data: object): string {
  return `${JSON.stringify({ wstun: VERSION, reply: 'ok', data })}\n`;
}

export function encodeFault({ code, message }: Pick<WstunError, 'code' | 'message'>): string {
  return `${JSON.stringify({ wstun: VERSION, reply: 'error', code, message })}\n`;
}

/** @throws WstunError control-request */
export function decodeRequest(line: string): ControlRequest {
  const { request, target } = decode(line, 'control-request');
  if (typeof request !== 'string') throw new WstunError('control-request', 'it has no "request"');
  if (target === undefined) return { request };
  if (typeof target !== 'string') throw new WstunError('control-request', '"target" is not a text');
  return { request, target };
}

/** @throws WstunError control-failed */
export function decodeReply(line: string): ControlReply {
  const { reply, data, code, message } = decode(line, 'control-failed');
  if (reply === 'ok' && isRecord(data)) return { reply, data };
  if (reply === 'error' && typeof code === 'string' && typeof message === 'string') return { reply, code, message };
  throw new WstunError('control-failed', 'its answer is not one of this version');
}

function decode(line: string, fault: 'control-request' | 'control-failed'): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new WstunError(fault, 'a line is not JSON');
  }
  if (!isRecord(value)) throw new WstunError(fault, 'a line is not a JSON object');
  if (value.wstun !== VERSION) throw new WstunError(fault, `it is not of version ${VERSION}`);
  return value;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Makes lines of what arrives in pieces. */
export class LineReader {
  private pieces: Buffer[] = [];
  private bytes = 0;

  constructor(private readonly maxBytes: number) {}

  /** The lines that are complete now, without their ends; undefined where one is too long. */
  push(chunk: Buffer): string[] | undefined {
    const lines: string[] = [];
    let rest = chunk;
    for (let end = rest.indexOf(0x0a); end >= 0; end = rest.indexOf(0x0a)) {
      if (this.bytes + end > this.maxBytes) return undefined;
      lines.push(Buffer.concat([...this.pieces, rest.subarray(0, end)]).toString('utf8'));
      this.pieces = [];
      this.bytes = 0;
      rest = rest.subarray(end + 1);
    }
    if (rest.length > 0) this.pieces.push(rest);
    this.bytes += rest.length;
    return this.bytes > this.maxBytes ? undefined : lines;
  }
}
