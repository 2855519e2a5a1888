/**
 * Programs that dial dead hosts again and again, as peer-to-peer programs, scanners and monitors do, beside one that
 * dials a live host.
 */
import { connect } from 'node:net';
import { expect, it } from 'vitest';
import { ip } from '../support/net/namespaces.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { run } from '../support/programs/programs.ts';
import { invite, startBehindRelay, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { askSocks5, socks5Request } from '../support/proxy/through-proxy.ts';
import { atEnd } from '../support/scope.ts';
import { until } from '../support/until.ts';

const LOOPS = 400;
/** Addresses that nobody has: what goes out of this interface comes to one that drops it. */
const HOLE = '198.18.9.0/24';
const HOLE_INTERFACE = 'wstun-hole';

async function digHole(): Promise<void> {
  await ip('link', 'add', HOLE_INTERFACE, 'type', 'veth', 'peer', 'name', 'wstun-nowhere');
  atEnd(() => run('ip', ['link', 'delete', HOLE_INTERFACE]));
  await ip('address', 'add', '198.18.8.1/32', 'dev', HOLE_INTERFACE);
  // Nobody is asked for a hardware address first: no answer to that would be an answer, host unreachable.
  await ip('link', 'set', HOLE_INTERFACE, 'arp', 'off', 'up');
  await ip('link', 'set', 'wstun-nowhere', 'up');
  await ip('route', 'add', HOLE, 'dev', HOLE_INTERFACE);
}

/** Dials each of them again as soon as its dial failed. Counts the failures. */
function loopDead(proxy: number): { refused: number } {
  const count = { refused: 0 };
  let over = false;
  atEnd(() => {
    over = true;
  });
  const loop = (i: number): void => {
    if (over) return;
    const socket = connect(proxy, '127.0.0.1').on('error', () => {});
    atEnd(() => socket.destroy());
    socket.write(Buffer.concat([Buffer.of(5, 1, 0), socks5Request(`198.18.9.${1 + (i % 250)}`, 1_000 + i)]));
    let received = 0;
    socket.on('data', (chunk) => {
      received += chunk.length;
      if (received >= 12) socket.destroy();
    });
    socket.on('close', () => {
      count.refused++;
      setTimeout(loop, 10, i);
    });
  };
  for (let i = 0; i < LOOPS; i++) loop(i);
  return count;
}

it.each([
  ['the relay’s own exit', async () => startRelay()],
  ['a named exit', async () => (await startBehindRelay()).exit],
])(
  '%s dials a live target for every client while one of them dials 400 dead targets in a loop',
  async (_, start) => {
    await digHole();
    const exit = await start();
    const allow = ['198.18.0.0/15', '127.0.0.1'];
    const mallory = await startClient(await invite(exit, 'mallory', { allow }));
    const alice = await startClient(await invite(exit, 'alice', { allow }));
    const port = await tcpServer(echo);
    const refusals = loopDead(mallory.port);
    const code = async (proxy: number) => {
      const asked = await askSocks5(proxy, socks5Request('127.0.0.1', port));
      asked.socket.destroy();
      return asked.code;
    };
    const codes: number[] = [];
    for (const atLeast of [0, 1, LOOPS, LOOPS + 100]) {
      await until(() => refusals.refused >= atLeast, 30_000);
      codes.push(await code(mallory.port), await code(alice.port));
    }
    expect(codes).toEqual(new Array(8).fill(0));
  },
  60_000,
);
