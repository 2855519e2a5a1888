import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { describeLinkCompliance } from '../../support/links/link-compliance.ts';
import { LinkRecorder } from '../../support/links/link-recorder.ts';
import { openWebSocketPair, startLinkServer } from '../../support/links/websocket-pair.ts';
import { makeCertificate } from '../../support/programs/certificate.ts';

const tls = makeCertificate();

describeLinkCompliance('a WebSocket, sent by the client, zero masks,', () => openWebSocketPair());
describeLinkCompliance('a WebSocket, sent by the client, random masks,', () => openWebSocketPair({ mask: 'random' }));
describeLinkCompliance('a WebSocket, sent by the server,', () => openWebSocketPair({ near: 'server' }));
describeLinkCompliance('a WebSocket over TLS', () => openWebSocketPair({ tls }));

describe('the close frame of a link', () => {
  it('the close code of a link says whether this end is going away, and both codes are clean', async () => {
    for (const [closeCode, code] of [
      ['done', 1000],
      ['going-away', 1001],
    ] as const) {
      const { near, far, release } = await openWebSocketPair();
      const [atNear, atFar] = [new LinkRecorder(near), new LinkRecorder(far)];
      near.close(closeCode);
      await Promise.all([atNear.untilClosed(), atFar.untilClosed()]);
      expect(atFar.closes).toEqual([{ clean: true, text: `closed by the peer, code ${code}` }]);
      await release?.();
    }
  });
});

describe('frames of the link and of ws on one socket', () => {
  it('frames of the link and of ws never mix: pings are answered whole between messages of any size', async () => {
    const server = await startLinkServer();
    const accepted = server.nextLink();
    const peer = new WebSocket(`ws://127.0.0.1:${server.port}/`, { perMessageDeflate: false });
    const opened = once(peer, 'open');
    const { link } = await accepted;
    await opened;
    const at = new LinkRecorder(link);
    const sizes: number[] = [];
    const received: number[] = [];
    let pongs = 0;
    peer.on('message', (data: Buffer) => received.push(data.length));
    peer.on('pong', () => {
      pongs += 1;
    });

    // Each ping comes with a message; its pong is written in the turn in which the link answers the message.
    at.onMessage = () => {
      for (const size of [0, 1, 100, 5_000, 40_000, 65_535]) {
        sizes.push(size);
        link.send([new Uint8Array(size >> 1), new Uint8Array(size - (size >> 1))]);
      }
    };
    for (let i = 0; i < 50; i++) {
      peer.ping();
      peer.send(Buffer.of(i));
      peer.ping();
      // One after the other: of several that arrive while the queue is full, only the latest is answered.
      while (pongs < 2 * (i + 1)) await once(peer, 'pong');
    }
    link.close();
    await once(peer, 'close');
    expect(received).toEqual(sizes);
    expect(sizes.length).toBe(300);
    expect(pongs).toBe(100);
    await server.close();
  });
});
