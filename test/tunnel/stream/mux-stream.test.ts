/** A stream that its peer's socket reset: what came before is read first. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../../src/clock.ts';
import { MuxStream, type StreamOwner } from '../../../src/tunnel/stream/mux-stream.ts';
import { RESET_WAIT_MS } from '../../../src/tunnel/stream/socket-reset.ts';

const TARGET = { kind: 'name', name: 'example.org', port: 80 } as const;

function stream(): { stream: MuxStream; told: string[]; forgotten: string[] } {
  const told: string[] = [];
  const forgotten: string[] = [];
  const owner: StreamOwner = {
    clock: systemClock,
    isAttached: true,
    write: () => false,
    finish: () => {},
    consume: () => {},
    forget: (_id, fault) => void forgotten.push(fault),
  };
  const made = new MuxStream(owner, 1, TARGET);
  made.on('end', () => told.push('end'));
  made.on('error', (error: Error & { fault?: string }) => told.push(String(error.fault)));
  return { stream: made, told, forgotten };
}

describe('MuxStream after a reset of the peer’s socket', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('a late reset destroys the stream when all bytes before it have been read, however slowly', async () => {
    const { stream: it, told, forgotten } = stream();
    for (const byte of [1, 2, 3, 4]) it.handleData(Buffer.alloc(1000, byte));
    it.handleLateReset('target-reset');
    let read = 0;
    for (;;) {
      await vi.advanceTimersByTimeAsync(RESET_WAIT_MS / 2);
      const chunk: unknown = it.read(500);
      if (!(chunk instanceof Uint8Array)) break;
      read += chunk.length;
    }
    expect(read).toBe(4000);
    expect(told).toEqual(['target-reset']);
    expect(forgotten).toEqual(['target-reset']);
  });

  it('a late reset destroys the stream after the end that came before it', async () => {
    const { stream: it, told } = stream();
    it.handleData(Buffer.from('bytes'));
    it.handleFinish();
    it.handleLateReset('target-reset');
    it.on('data', (chunk: Buffer) => told.push(chunk.toString()));
    await vi.advanceTimersByTimeAsync(1);
    expect(told).toEqual(['bytes', 'end', 'target-reset']);
  });

  it('a late reset destroys the stream at once where nothing is unread', async () => {
    const { stream: it, told } = stream();
    it.handleLateReset('target-reset');
    await vi.advanceTimersByTimeAsync(1);
    expect(told).toEqual(['target-reset']);
  });

  it('a late reset destroys the stream after the limit where nobody reads', async () => {
    const { stream: it, told } = stream();
    it.handleData(Buffer.from('bytes'));
    it.handleLateReset('target-reset');
    await vi.advanceTimersByTimeAsync(RESET_WAIT_MS - 1);
    expect(told).toEqual([]);
    await vi.advanceTimersByTimeAsync(RESET_WAIT_MS);
    expect(told).toEqual(['target-reset']);
  });

  it('a late reset completes a write that waits, whose bytes are dropped', async () => {
    const { stream: it } = stream();
    const written = vi.fn();
    it.handleData(Buffer.from('unread'));
    it.write('blocked', written);
    it.handleLateReset('target-reset');
    await vi.advanceTimersByTimeAsync(1);
    expect(written).toHaveBeenCalledWith(null);
  });
});
