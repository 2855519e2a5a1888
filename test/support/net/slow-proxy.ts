/** A TCP proxy of a given speed, as a mobile network in the way: bytes wait in the kernels before it, not in it. */
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { atEnd } from '../scope.ts';
import { tcpServer } from './tcp.ts';

const TICK_MS = 10;

/** Each direction of each connection carries so many bits a second. Until the test is over. */
export async function slowProxy(targetPort: number, bitsPerSecond: number): Promise<number> {
  return await tcpServer((near) => {
    const far = connect({ host: '127.0.0.1', port: targetPort, noDelay: true });
    far.on('error', () => near.destroy()).on('close', () => near.destroy());
    near.on('close', () => far.destroy());
    atEnd(() => far.destroy());
    const bytes = Math.max(1, Math.floor((bitsPerSecond / 8) * (TICK_MS / 1000)));
    void trickle(near, far, bytes);
    void trickle(far, near, bytes);
  });
}

async function trickle(from: Socket, to: Socket, bytesPerTick: number): Promise<void> {
  try {
    for await (const chunk of from) {
      const whole = chunk as Buffer;
      for (let at = 0; at < whole.length && !to.destroyed; at += bytesPerTick) {
        to.write(whole.subarray(at, at + bytesPerTick));
        await delay(TICK_MS);
      }
    }
    to.end();
  } catch {
    to.destroy();
  }
}
