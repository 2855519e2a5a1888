/**
 * A middlebox that treats WebSockets otherwise than the rest of HTTP, as some networks do, and changes its mind when a
 * test tells it to. It knows an upgrade by its request; all other connections pass.
 */
import { connect, type Socket } from 'node:net';
import { atEnd } from '../scope.ts';
import { tcpServer } from './tcp.ts';

const END_OF_HEAD = '\r\n\r\n';

/** What happens to an upgrade: the second resets right behind the 101, the third takes all behind it and is silent. */
export type UpgradeMode = 'passes' | 'resets' | 'swallows' | 'goes-to-front';

export interface UpgradeBox {
  readonly port: number;
  /** So far. */
  readonly upgrades: number;
  readonly others: number;
  /** From now on. Links by WebSocket that are open are reset. */
  switchTo(mode: UpgradeMode): void;
}

/** @param front in the place of the target, for `goes-to-front`; until the test is over */
export async function startUpgradeBox(target: number, first: UpgradeMode, front = target): Promise<UpgradeBox> {
  let mode = first;
  const counts = { upgrades: 0, others: 0 };
  const open = new Set<Socket>();
  const port = await tcpServer((near) => {
    near.once('data', (head: Buffer) => {
      near.pause();
      const isUpgrade = /^upgrade: *websocket/im.test(head.toString('latin1'));
      counts[isUpgrade ? 'upgrades' : 'others'] += 1;
      const far = connect({ host: '127.0.0.1', port: mode === 'goes-to-front' ? front : target, noDelay: true });
      atEnd(() => far.destroy());
      near.on('close', () => far.destroy());
      far.on('error', () => near.destroy()).on('close', () => near.destroy());
      far.write(head);
      if (isUpgrade && (mode === 'resets' || mode === 'swallows')) return stopBehindHead(near, far, mode);
      if (isUpgrade) open.add(near.on('close', () => open.delete(near)));
      near.pipe(far);
      far.pipe(near);
    });
  });
  return {
    port,
    get upgrades() {
      return counts.upgrades;
    },
    get others() {
      return counts.others;
    },
    switchTo: (next) => {
      mode = next;
      for (const socket of open) socket.resetAndDestroy();
    },
  };
}

function stopBehindHead(near: Socket, far: Socket, mode: 'resets' | 'swallows'): void {
  near.resume();
  far.once('data', (answer: Buffer) => {
    const head = answer.subarray(0, answer.indexOf(END_OF_HEAD) + END_OF_HEAD.length);
    far.resume();
    near.write(head, () => {
      if (mode === 'resets') near.resetAndDestroy();
    });
  });
}
