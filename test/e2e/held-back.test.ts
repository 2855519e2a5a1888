/** A reset is noticed also where back-pressure keeps the connection from being read. */
import type { Socket } from 'node:net';
import { beforeAll, describe, expect, it } from 'vitest';
import { sendEndlessly } from '../support/payload.ts';
import { tcpServer } from '../support/tcp.ts';
import { connectThrough, endOf } from '../support/through-proxy.ts';
import { until } from '../support/until.ts';
import { type Stack, startStack } from '../support/wstun-stack.ts';

describe('while the other side takes nothing', () => {
  let stack: Stack;
  let target = 0;
  const accepted: ((socket: Socket) => void)[] = [];
  beforeAll(async () => {
    stack = await startStack({ args: ['--verbose'] });
    target = await tcpServer((socket) => accepted.shift()?.(socket.pause()));
  });

  async function open(): Promise<{ program: Socket; atTarget: Socket }> {
    const atTarget = new Promise<Socket>((resolve) => accepted.push(resolve));
    return { program: await connectThrough('SOCKS5', stack.client.port, target), atTarget: await atTarget };
  }

  /** All buffers on the way are full. */
  async function stuck(sender: Socket): Promise<void> {
    sendEndlessly(sender);
    let [sent, since] = [-1, 0];
    await until(() => {
      if (sender.bytesWritten !== sent) [sent, since] = [sender.bytesWritten, performance.now()];
      return performance.now() - since > 300;
    }, 10_000);
  }

  const streamsClosed = (): number => stack.relay.process.stderr.split('"stream closed"').length;

  it('a program that resets its upload is reset at the target', async () => {
    const { program, atTarget } = await open();
    await stuck(program);
    const closed = streamsClosed();
    program.resetAndDestroy();
    // The exit has let go before the target reads on.
    await until(() => streamsClosed() > closed);
    expect(await endOf(atTarget)).toBe('reset');
  });

  it('a target that resets its download is reset at the program', async () => {
    const { program, atTarget } = await open();
    await stuck(atTarget);
    const closed = streamsClosed();
    atTarget.resetAndDestroy();
    await until(() => streamsClosed() > closed);
    expect(await endOf(program)).toBe('reset');
  });
});
