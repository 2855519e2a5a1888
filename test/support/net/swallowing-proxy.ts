/**
 * A middlebox that lets WebSockets be agreed on and nothing behind that, or not much: the upgrade's request and its
 * answer pass, and so many bytes behind them; all else is taken and goes nowhere, and neither end hears that the other
 * has gone.
 */
import { connect, type Socket } from 'node:net';
import { atEnd } from '../scope.ts';
import { tcpServer } from './tcp.ts';

const END_OF_HEAD = '\r\n\r\n';

/** Bytes that pass behind the upgrade, each way. */
export interface Allowance {
  readonly up: number;
  readonly down: number;
}

interface Upgrade {
  readonly allowance: Allowance;
  /** When whoever had dialled gave the connection up, ms from its upgrade on. */
  readonly givenUpAfter: number | undefined;
}

export interface SwallowingProxy {
  readonly port: number;
  /** Those that have passed, in order. */
  readonly upgrades: readonly Upgrade[];
  /** Of new connections from now on; at first nothing passes. */
  allow(allowance: Allowance): void;
}

export const ALL: Allowance = { up: Number.POSITIVE_INFINITY, down: Number.POSITIVE_INFINITY };
const NOTHING: Allowance = { up: 0, down: 0 };

/** Until the test is over. */
export async function swallowingProxy(targetPort: number): Promise<SwallowingProxy> {
  const upgrades: Upgrade[] = [];
  let current = NOTHING;
  const port = await tcpServer((near) => {
    const allowance = current;
    const far = connect({ host: '127.0.0.1', port: targetPort, noDelay: true });
    atEnd(() => far.destroy());
    far.on('error', () => {});
    near.on('end', () => near.destroy()).on('close', () => far.destroy());
    if (allowance === ALL) far.on('close', () => near.destroy());
    pass(near, far, allowance.up, () => {});
    pass(far, near, allowance.down, () => {
      const since = performance.now();
      const upgrade = { allowance, givenUpAfter: undefined as number | undefined };
      upgrades.push(upgrade);
      near.on('close', () => {
        upgrade.givenUpAfter = performance.now() - since;
      });
    });
  });
  return {
    port,
    upgrades,
    allow: (allowance) => {
      current = allowance;
    },
  };
}

/** The head and `left` bytes behind it. */
function pass(from: Socket, to: Socket, left: number, onHead: () => void): void {
  let head: Buffer | undefined = Buffer.alloc(0);
  let rest = left;
  from.on('data', (chunk: Buffer) => {
    let behind = chunk;
    if (head !== undefined) {
      const before = head.length;
      head = Buffer.concat([head, chunk]);
      const at = head.indexOf(END_OF_HEAD);
      const end = at < 0 ? head.length : at + END_OF_HEAD.length;
      to.write(chunk.subarray(0, end - before));
      behind = chunk.subarray(end - before);
      if (at >= 0) {
        head = undefined;
        onHead();
      }
    }
    const passing = behind.subarray(0, Math.min(behind.length, rest));
    rest -= passing.length;
    if (passing.length > 0 && !to.write(passing)) {
      from.pause();
      to.once('drain', () => from.resume());
    }
  });
}
