/**
 * A reset is also noticed where back-pressure keeps the connection from being read, and waits for the bytes before it.
 * How long it waits where the other side never reads is tested in test/tunnel and test/mux.
 */
import type { Socket } from 'node:net';
import { beforeAll, describe, expect, it } from 'vitest';
import { unacknowledgedBytes } from '../../src/tunnel/stream/kernel-queue.ts';
import { type Ending, endingOf } from '../support/net/ending.ts';
import { tcpServer } from '../support/net/tcp.ts';
import { payload, sha256 } from '../support/payload.ts';
import { type Stack, startStack } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { until } from '../support/until.ts';

/** More than the sockets of a reader that reads nothing hold. */
const BYTES = 4 * 1024 * 1024;
const SENT = payload(BYTES, 5);
const WHOLE: Ending = { bytes: BYTES, hash: sha256(SENT), end: 'reset' };

describe('a reset while the other side reads nothing', () => {
  let stack: Stack;
  let target = 0;
  const accepted: ((socket: Socket) => void)[] = [];
  beforeAll(async () => {
    stack = await startStack();
    target = await tcpServer((socket) => accepted.shift()?.(socket.pause()));
  });

  async function open(): Promise<{ program: Socket; atTarget: Socket }> {
    const atTarget = new Promise<Socket>((resolve) => accepted.push(resolve));
    return { program: await connectThrough('SOCKS5', stack.client.port, target), atTarget: await atTarget };
  }

  /** All of it has left the sender, and is somewhere on the path to a reader that reads nothing. */
  async function sendAll(sender: Socket): Promise<void> {
    sender.write(SENT);
    await until(() => sender.writableLength === 0, 10_000);
    while (((await unacknowledgedBytes(sender)) ?? 0) > 0);
  }

  it('a program that resets its upload is reset at the target, after all that it had sent', async () => {
    const { program, atTarget } = await open();
    await sendAll(program);
    program.resetAndDestroy();
    expect(await endingOf(atTarget)).toEqual(WHOLE);
  });

  it('a target that resets its download is reset at the program, after all that it had sent', async () => {
    const { program, atTarget } = await open();
    await sendAll(atTarget);
    atTarget.resetAndDestroy();
    expect(await endingOf(program)).toEqual(WHOLE);
  });
});
