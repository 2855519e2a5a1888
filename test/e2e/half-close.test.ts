/** The two directions of a connection end independently (RFC 9293 §3.6), through both proxies. */

import type { Socket } from 'node:net';
import { beforeAll, describe, expect, it } from 'vitest';
import { tcpServer } from '../support/net/tcp.ts';
import { payload, type Received, receive, sendPayload, sha256 } from '../support/payload.ts';
import { startStack } from '../support/programs/wstun-stack.ts';
import { connectThrough, type Protocol } from '../support/proxy/through-proxy.ts';

const MIB = 1024 * 1024;
const ANSWER_HASH = sha256(payload(MIB, 1));

/** Once the request has ended, and not before. */
async function answer(socket: Socket): Promise<void> {
  await receive(socket);
  await sendPayload(socket, MIB, 1);
}

describe.each<Protocol>(['SOCKS5', 'CONNECT'])('through %s', (protocol) => {
  let proxy = 0;
  beforeAll(async () => {
    proxy = (await startStack()).client.port;
  });

  it('an answer of 1 MiB arrives whole after the program has shut its writing side', async () => {
    const target = await tcpServer((socket) => void answer(socket));
    const socket = await connectThrough(protocol, proxy, target);
    socket.end('request');
    expect(await receive(socket)).toEqual({ bytes: MIB, hash: ANSWER_HASH });
  });

  it('1 MiB from the program arrives whole after the target has shut its writing side', async () => {
    const arrived: Promise<Received>[] = [];
    const target = await tcpServer((socket) => {
      socket.end('that is all');
      arrived.push(receive(socket));
    });
    const socket = await connectThrough(protocol, proxy, target);
    // Nothing is sent before the target's end has come all the way.
    expect(await receive(socket)).toEqual({ bytes: 11, hash: sha256(Buffer.from('that is all')) });
    await sendPayload(socket, MIB, 1);
    expect(await arrived[0]).toEqual({ bytes: MIB, hash: ANSWER_HASH });
  });

  it('an end right after the proxy’s reply loses nothing of the answer', async () => {
    const target = await tcpServer((socket) => void answer(socket));
    for (let i = 0; i < 20; i++) {
      const socket = await connectThrough(protocol, proxy, target);
      socket.end();
      expect(await receive(socket)).toEqual({ bytes: MIB, hash: ANSWER_HASH });
    }
  });
});
