/**
 * HTTP/1 messages as bytes, of any framing and cut anywhere, and a reader of them that has nothing in common with the
 * proxy's.
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { payload } from '../payload.ts';
import type { Prng } from '../prng.ts';

export interface PlannedContent {
  readonly content: Buffer;
  /** `close`: answers alone. */
  readonly framing: 'length' | 'chunked' | 'close';
}

/** Around the sizes at which the proxy does something else: what is joined, a read, several reads. */
const SIZES = [0, 1, 300, 4_090, 4_097, 51_200, 65_530, 65_537, 250_000];

export function planContent(random: Prng, framings: readonly PlannedContent['framing'][]): PlannedContent {
  const size = random.pick(SIZES) + random.below(20);
  return { content: payload(size, random.below(1_000)), framing: random.pick(framings) };
}

/** `start`: the first line and further ones, without their ends. */
export function serialise(start: readonly string[], planned: PlannedContent, random: Prng): Buffer {
  const { content, framing } = planned;
  const lines = [...start, ...framingLines(planned)];
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  return Buffer.concat([head, ...(framing === 'chunked' ? inChunks(content, random) : [content])]);
}

function framingLines({ content, framing }: PlannedContent): string[] {
  switch (framing) {
    case 'length':
      return [`Content-Length: ${content.length}`];
    case 'chunked':
      return ['Transfer-Encoding: chunked'];
    case 'close':
      return ['Connection: close'];
  }
}

function inChunks(content: Buffer, random: Prng): Buffer[] {
  const parts: Buffer[] = [];
  const largest = content.length < 5_000 ? 40 : random.pick([900, 20_000, 100_000]);
  for (let at = 0; at < content.length; ) {
    const chunk = content.subarray(at, at + 1 + random.below(largest));
    at += chunk.length;
    const extension = random.chance(0.1) ? ';a=b' : '';
    parts.push(Buffer.from(`${chunk.length.toString(16)}${extension}\r\n`), chunk, Buffer.from('\r\n'));
  }
  return [...parts, Buffer.from(random.chance(0.2) ? '0\r\nA: b\r\n\r\n' : '0\r\n\r\n')];
}

/** Cut anywhere, in the head into pieces of a few bytes; one turn of the event loop or none between them. */
export async function writeCut(to: Socket, bytes: Buffer, random: Prng): Promise<void> {
  const largest = random.pick([2_000, 30_000, 200_000]);
  for (let at = 0; at < bytes.length && !to.destroyed; ) {
    const size = 1 + random.below(at < 100 && random.chance(0.5) ? 30 : largest);
    const hasRoom = to.write(bytes.subarray(at, at + size));
    at += size;
    if (!hasRoom) await Promise.race([once(to, 'drain'), once(to, 'close')]);
    else if (random.chance(0.5)) await new Promise(setImmediate);
  }
}

export interface Message {
  readonly head: string;
  readonly content: Buffer;
}

/** Messages one behind another, out of bytes that come. */
export class MessageReader {
  private bytes = Buffer.alloc(0);

  add(bytes: Buffer): void {
    this.bytes = Buffer.concat([this.bytes, bytes]);
  }

  /** The next that is whole. */
  take(): Message | undefined {
    const headEnd = this.bytes.indexOf('\r\n\r\n') + 4;
    if (headEnd < 4) return undefined;
    const head = this.bytes.toString('latin1', 0, headEnd);
    const isChunked = /^transfer-encoding: chunked\r$/im.test(head);
    const [, length = '0'] = /^content-length: (\d+)\r$/im.exec(head) ?? [];
    const body = isChunked ? dechunk(this.bytes, headEnd) : sized(this.bytes, headEnd, Number(length));
    if (body === undefined) return undefined;
    this.bytes = this.bytes.subarray(body.end);
    return { head, content: body.content };
  }
}

interface Body {
  readonly content: Buffer;
  readonly end: number;
}

function sized(bytes: Buffer, at: number, length: number): Body | undefined {
  return bytes.length < at + length ? undefined : { content: bytes.subarray(at, at + length), end: at + length };
}

/** As the proxy writes it: no extensions, no trailers. */
function dechunk(bytes: Buffer, begin: number): Body | undefined {
  const parts: Buffer[] = [];
  for (let at = begin; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) return undefined;
    const line = bytes.toString('latin1', at, lineEnd);
    if (!/^[0-9a-f]+$/.test(line)) throw new Error(`no size of a chunk: ${JSON.stringify(line.slice(0, 50))}`);
    const length = Number.parseInt(line, 16);
    const end = lineEnd + 2 + length + 2;
    if (bytes.length < end) return undefined;
    if (bytes.toString('latin1', end - 2, end) !== '\r\n') throw new Error('a chunk is longer than its size');
    if (length === 0) return { content: Buffer.concat(parts), end };
    parts.push(bytes.subarray(lineEnd + 2, end - 2));
    at = end;
  }
}
