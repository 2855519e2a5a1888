/** Requests that a page makes for the laptop: their answers, their limits, and pages that do not keep to them. */
import { describe, expect, it } from 'vitest';
import { PageRequester } from '../../../src/tether/laptop/page-requester.ts';
import {
  ANSWER_WINDOW_BYTES,
  decodeLaptopFrame,
  encodePageFrame,
  type LaptopFrame,
  MAX_PART_BYTES,
  type PageFrame,
} from '../../../src/tether/shared/request-frames.ts';
import type { AnswerHandler } from '../../../src/transport/http/http-requester.ts';
import { memoryLinkPair } from '../../support/links/memory-link.ts';
import { until } from '../../support/until.ts';

/** All that a request's owner is told, in order. */
class Answer implements AnswerHandler {
  readonly told: string[] = [];
  bytes = 0;

  handleHead(status: number, header: (name: string) => string | undefined): void {
    this.told.push(`${status} ${header('content-type')}`);
  }

  handleBody(chunk: Uint8Array): void {
    this.bytes += chunk.length;
  }

  handleEnd(): void {
    this.told.push('end');
  }

  handleFault(): void {
    this.told.push('fault');
  }
}

function setUp() {
  const [near, far] = memoryLinkPair();
  const asked: LaptopFrame[] = [];
  const ends: string[] = [];
  far.setHandler({
    handleMessage: (message) => {
      const frame = decodeLaptopFrame(Uint8Array.from(Buffer.concat(message)));
      if (frame !== undefined) asked.push(frame);
    },
    handleDrain: () => {},
    handleClose: () => ends.push('closed'),
  });
  const requester = new PageRequester(near, { onAlive: () => {}, onEnd: () => ends.push('told') });
  const answer = (...frames: PageFrame[]) => {
    for (const frame of frames) far.send([Buffer.from(encodePageFrame(frame))]);
  };
  return { requester, asked, ends, answer, far };
}

const GET = { method: 'GET', url: 'https://relay.example.org/t' } as const;
const part = (id: number, bytes: number): PageFrame => ({ type: 'answerPart', id, bytes: new Uint8Array(bytes) });

describe('requests by a page', () => {
  it('a GET is made at once, and its answer comes in order', async () => {
    const { requester, asked, answer } = setUp();
    const got = new Answer();
    requester.request(GET, got);
    await until(() => asked.length === 1);
    expect(asked).toEqual([{ type: 'begin', id: 1, ...GET }]);
    const fields = { 'content-type': 'application/octet-stream' };
    answer({ type: 'head', id: 1, status: 200, fields }, part(1, 10), { type: 'end', id: 1 });
    await until(() => got.told.length === 2);
    expect(got).toMatchObject({ told: ['200 application/octet-stream', 'end'], bytes: 10 });
    await until(() => asked.length === 2);
    expect(asked[1]).toEqual({ type: 'credit', id: 1, bytes: 10 });
  });

  it('the content of a POST goes in parts, and the request is made after the last', async () => {
    const { requester, asked } = setUp();
    const body = [new Uint8Array(MAX_PART_BYTES + 1), new Uint8Array(5)];
    requester.request({ method: 'POST', url: GET.url, body }, new Answer());
    await until(() => asked.at(-1)?.type === 'send');
    expect(asked.map((frame) => (frame.type === 'part' ? frame.bytes.length : frame.type))).toEqual([
      ...['begin', MAX_PART_BYTES, 1, 5, 'send'],
    ]);
  });

  it('a paused answer is held, grants nothing, and goes on where it stopped', async () => {
    const { requester, asked, answer } = setUp();
    const got = new Answer();
    const exchange = requester.request(GET, got);
    exchange.pause();
    answer(...Array.from({ length: 4 }, () => part(1, 50_000)), { type: 'end', id: 1 });
    const other = new Answer();
    requester.request(GET, other);
    answer({ type: 'end', id: 2 });
    await until(() => other.told.length === 1);
    expect(got).toMatchObject({ told: [], bytes: 0 });
    expect(asked.some(({ type }) => type === 'credit')).toBe(false);
    exchange.resume();
    expect(got.bytes).toBe(0);
    await until(() => got.told.length === 1);
    expect(got).toMatchObject({ told: ['end'], bytes: 200_000 });
  });

  it('a page that passes on more than was granted is ended', async () => {
    const { requester, answer, ends } = setUp();
    const got = new Answer();
    requester.request(GET, got).pause();
    const parts = Math.ceil((ANSWER_WINDOW_BYTES + MAX_PART_BYTES) / MAX_PART_BYTES) + 1;
    answer(...Array.from({ length: parts }, () => part(1, MAX_PART_BYTES)));
    await until(() => ends.length === 2);
    expect(new Set(ends)).toEqual(new Set(['closed', 'told']));
  });

  it('an aborted request is not told anything more, and the page is told', async () => {
    const { requester, asked, answer } = setUp();
    const got = new Answer();
    requester.request(GET, got).abort();
    await until(() => asked.length === 2);
    expect(asked[1]).toEqual({ type: 'abort', id: 1 });
    answer({ type: 'end', id: 1 });
    const other = new Answer();
    requester.request(GET, other);
    answer({ type: 'failed', id: 2 });
    await until(() => other.told.length === 1);
    expect(got.told).toEqual([]);
  });

  it('the end of the local connection fails what is under way and what comes later', async () => {
    const { requester, far, ends } = setUp();
    const [first, later] = [new Answer(), new Answer()];
    requester.request(GET, first);
    far.abort();
    await until(() => first.told.length === 1);
    requester.request(GET, later);
    expect(later.told).toEqual([]);
    await until(() => later.told.length === 1);
    expect([...first.told, ...later.told]).toEqual(['fault', 'fault']);
    expect(ends).toContain('told');
  });

  it('bytes that are no message end the local connection', async () => {
    const { far, ends } = setUp();
    far.send([Buffer.from([0x85, 0, 0, 0, 1])]);
    await until(() => ends.length === 2);
  });
});
