import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { lend } from '../../../src/memory/pieces.ts';
import { frameMessage } from '../../../src/transport/websocket/websocket-frame.ts';
import { WebSocketIntake } from '../../../src/transport/websocket/websocket-intake.ts';

function rawSocket(): Duplex {
  return new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() });
}

function frame(length: number): Buffer {
  return Buffer.concat(frameMessage([new Uint8Array(length).fill(length)], length, 'none'));
}

const PING = Buffer.of(0x89, 1, 42);

function taken(): { raw: Duplex; messages: number[]; forWs: Buffer[]; intake: WebSocketIntake | undefined } {
  const raw = rawSocket();
  const messages: number[] = [];
  const forWs: Buffer[] = [];
  raw.on('data', (chunk: Buffer) => forWs.push(chunk));
  const intake = WebSocketIntake.take(raw, false, {
    handleMessage: (held, last) => messages.push(Buffer.concat(last === undefined ? held : [...held, last]).length),
    handleFault: () => messages.push(-1),
  });
  return { raw, messages, forWs, intake };
}

describe('the WebSocket intake', () => {
  it('the intake delivers messages, and passes other frames to ws', async () => {
    const { raw, messages, forWs } = taken();
    raw.push(Buffer.concat([frame(5), PING, frame(9)]));
    await turn();
    expect(messages).toEqual([5, 9]);
    expect(Buffer.concat(forWs)).toEqual(PING);
  });

  it('the intake reads in order what a paused socket holds when it is closed, and ws does not read it again', async () => {
    const { raw, messages, forWs } = taken();
    const whole = Buffer.concat([frame(200), PING, frame(9)]);
    raw.push(whole.subarray(0, 100));
    await turn();
    raw.pause();
    raw.push(whole.subarray(100));
    raw.destroy();
    await once(raw, 'close');
    expect(messages).toEqual([200, 9]);
    expect(Buffer.concat(forWs)).toEqual(PING);
    expect(raw.readableLength).toBe(0);
  });

  it('the intake does not take lent memory if the socket is paused, or has bytes before it', async () => {
    const { raw, messages, intake } = taken();
    raw.push(frame(3));
    await turn();
    expect(intake?.readLent(lend(frame(4)))).toBe(true);
    raw.pause();
    expect(intake?.readLent(lend(frame(5)))).toBe(false);
    raw.push(frame(6));
    raw.resume();
    expect(intake?.readLent(lend(frame(7)))).toBe(false);
    await turn();
    expect(messages).toEqual([3, 4, 6]);
  });

  it('the intake takes nothing if ws listens in an unknown way', () => {
    const raw = rawSocket();
    const link = { handleMessage: () => {}, handleFault: () => {} };
    expect(WebSocketIntake.take(raw, false, link)).toBeUndefined();
    raw.on('data', () => {}).on('data', () => {});
    expect(WebSocketIntake.take(raw, false, link)).toBeUndefined();
    expect(raw.listenerCount('data')).toBe(2);
  });
});
