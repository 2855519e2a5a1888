/** Streams whose reader reads nothing, for the figures about them. */
import type { Socket } from 'node:net';
import { tcpServer } from '../support/net/tcp.ts';
import { sendEndlessly } from '../support/payload.ts';
import type { Stack } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { until } from '../support/until.ts';

export const DIRECTIONS = ['download', 'upload'] as const;
export type Direction = (typeof DIRECTIONS)[number];

interface Ends {
  readonly sender: Socket;
  readonly reader: Socket;
}

/** Opens connections through the tunnel, whose both ends are the test's. */
export async function opener({ client }: Stack): Promise<(direction: Direction) => Promise<Ends>> {
  const accepted: ((socket: Socket) => void)[] = [];
  const target = await tcpServer((socket) => socket.once('data', () => accepted.shift()?.(socket.pause())));
  return async (direction) => {
    const atTarget = new Promise<Socket>((resolve) => accepted.push(resolve));
    const atProgram = await connectThrough('SOCKS5', client.port, target);
    atProgram.write('.');
    const [sender, reader] = direction === 'upload' ? [atProgram, await atTarget] : [await atTarget, atProgram];
    return { sender, reader };
  };
}

/** A stream whose reader reads nothing, ever; resolves when its sender has been stuck for a while. */
export async function stall({ sender, reader }: Ends): Promise<Ends> {
  sendEndlessly(sender);
  let sent = -1;
  let since = performance.now();
  await until(() => {
    if (sender.bytesWritten !== sent) [sent, since] = [sender.bytesWritten, performance.now()];
    return performance.now() - since > 150;
  }, 10_000);
  return { sender, reader };
}

export function release({ sender, reader }: Ends): void {
  sender.destroy();
  reader.destroy();
}
