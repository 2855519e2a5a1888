import { describe, expect, it } from 'vitest';
import { SUITES } from '../../support/crypto/noise.ts';
import { describeLinkCompliance, type LinkPair } from '../../support/links/link-compliance.ts';
import { LinkRecorder } from '../../support/links/link-recorder.ts';
import { memoryLinkPair } from '../../support/links/memory-link.ts';
import { securePair } from '../../support/links/secure-pair.ts';
import { openWebSocketPair } from '../../support/links/websocket-pair.ts';
import { describeMuxCompliance } from '../../support/mux/mux-compliance.ts';
import { driverPair } from '../../support/mux/session-pairs.ts';

const MIB = 1024 * 1024;

function memory(): LinkPair {
  const [near, far] = memoryLinkPair();
  return { near, far };
}

for (const suite of SUITES) {
  describeLinkCompliance(`a secure link (${suite}) in memory`, () => securePair(memory(), { suite }));
  describeLinkCompliance(`a secure link (${suite}) over a WebSocket`, async () =>
    securePair(await openWebSocketPair(), { suite }),
  );
  describeMuxCompliance(
    `a secure link (${suite}) in memory`,
    async (setup) => driverPair(await securePair(memory(), { suite }), setup),
    { bulk: MIB, streams: 100 },
  );
}

describeLinkCompliance('an unsealed secure link in memory', () => securePair(memory(), { encryption: 'off' }));
describeLinkCompliance('an unsealed secure link over a WebSocket', async () =>
  securePair(await openWebSocketPair(), { encryption: 'off' }),
);

describe('a secure link', () => {
  it.for(['close', 'abort'] as const)(
    'SecureLink delivers nothing more to an end that called %s, not even early records',
    async (end) => {
      const { near, far } = await securePair(memory());
      near.send([Uint8Array.of(1)]);
      near.send([Uint8Array.of(2)]);
      // Without a handler above, both are early.
      await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
      const atFar = new LinkRecorder();
      atFar.onMessage = () => far[end]();
      far.setHandler(atFar);
      await atFar.untilClosed();
      expect(atFar.messages).toEqual([Buffer.of(1)]);
      expect(atFar.closes.length).toBe(1);
    },
  );

  it('SecureLink leaves room for the tag in the messages of the link below', async () => {
    const under = memory();
    const { near, far } = await securePair(under);
    expect([near.maxMessageBytes, far.maxMessageBytes]).toEqual([65_519, 65_519]);
    expect([near.remote, near.queuedBytes]).toEqual(['memory', 0]);
  });
});
