/** Requests to join a session at an exit (docs/protocol.md §10.2), also of peers that are not honest. In virtual time. */
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { type DhKeyPair, x25519 } from '../../../src/crypto/x25519.ts';
import { WstunError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { SessionRequest } from '../../../src/protocol/session-request.ts';
import { initiateSecureLink } from '../../../src/tunnel/dial/handshake.ts';
import type { SecureLink } from '../../../src/tunnel/dial/secure-link.ts';
import { negotiateSession, type SessionLink } from '../../../src/tunnel/dial/session-dialer.ts';
import { requestSession } from '../../../src/tunnel/dial/session-exchange.ts';
import { ExitSessions } from '../../../src/tunnel/session/exit-sessions.ts';
import { TunnelClient } from '../../../src/tunnel/session/tunnel-client.ts';
import type { TunnelStream } from '../../../src/tunnel/stream/stream.ts';
import { ECHO } from '../../support/links/echoing.ts';
import { LinkRecorder } from '../../support/links/link-recorder.ts';
import { memoryLinkPair } from '../../support/links/memory-link.ts';
import { CLIENT_KEYS, EXIT_KEYS } from '../../support/links/secure-pair.ts';
import { never } from '../../support/never.ts';
import { atEnd } from '../../support/scope.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const MAX_LINKS = 8;
const TARGET = { kind: 'name', name: 'example.org', port: 80 } as const;

/** An exit that echoes, an honest client with a session on one link, and whatever else dials. */
class Exit {
  readonly clock = new VirtualClock();
  /** By the exit's own count, of each link that has joined. */
  readonly linkCounts: number[] = [];
  /** Of the client's session. */
  id: Uint8Array = new Uint8Array(0);
  private readonly sessions = new ExitSessions({
    keys: EXIT_KEYS,
    // Two keys of one access entry.
    peerOf: () => 'alice',
    acceptor: ECHO,
    logger: {
      ...silentLogger,
      debug: (fields, message) => {
        if (message === 'one more link') this.linkCounts.push(Number(Object(fields).links));
      },
    },
    clock: this.clock,
  });

  get count(): number {
    return this.sessions.count;
  }

  async connect(keys: DhKeyPair = CLIENT_KEYS): Promise<SecureLink> {
    const [near, far] = memoryLinkPair({ clock: this.clock });
    this.sessions.serve(far, 'alice');
    const { clock } = this;
    const pinned = { keys, exitKey: EXIT_KEYS.publicKey, suite: 'AESGCM', encryption: 'on', clock } as const;
    return initiateSecureLink(near, pinned, never);
  }

  /** What the exit answers: `joined`, or why not. The link stays open where the exit lets it, and says nothing. */
  async join(request: Partial<SessionRequest> = {}, keys?: DhKeyPair): Promise<{ answer: string }> {
    const link = await this.connect(keys);
    const asked = { kind: 'join', id: this.id, received: 0, ...request } as const;
    try {
      await requestSession(link, asked, never, { clock: this.clock });
      link.setHandler(new LinkRecorder());
      return { answer: 'joined' };
    } catch (error) {
      return { answer: error instanceof WstunError ? error.fault : String(error) };
    }
  }

  private async dial(request: () => SessionRequest): Promise<SessionLink> {
    const link = await this.connect();
    const asked = request();
    this.id = asked.id;
    return negotiateSession(link, asked, never, { clock: this.clock });
  }

  /** A stream of the honest client. */
  async open(): Promise<TunnelStream> {
    const client = new TunnelClient({ dial: (request) => this.dial(request) }, {}, silentLogger, {
      clock: this.clock,
      links: 1,
    });
    const run = client.run();
    atEnd(async () => {
      const closed = client.close(0);
      await this.clock.advance(1);
      await closed;
      await run;
    });
    return client.open(TARGET, never);
  }

  /** Although other links may swallow the answer: it is sent again on one that works. */
  async expectEcho(stream: TunnelStream, text: string): Promise<void> {
    const echoed = once(stream, 'data').then(([bytes]) => String(bytes));
    stream.write(text);
    const seen = { text: '' };
    void echoed.then((got) => {
      seen.text = got;
    });
    await this.clock.advanceUntil(() => seen.text !== '', 60_000);
    expect(seen.text).toBe(text);
  }
}

function countOf(answers: readonly { readonly answer: string }[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { answer } of answers) counts[answer] = (counts[answer] ?? 0) + 1;
  return counts;
}

describe('requests to join a session', () => {
  it('of 1,000 requests to join a session an exit admits 7, and the session goes on', {
    timeout: 240_000,
  }, async () => {
    const exit = new Exit();
    const stream = await exit.open();
    const answers = await Promise.all(Array.from({ length: 1_000 }, () => exit.join()));
    expect(countOf(answers)).toEqual({ joined: MAX_LINKS - 1, 'too-many-links': 1_000 - (MAX_LINKS - 1) });
    expect(Math.max(...exit.linkCounts)).toBe(MAX_LINKS);
    expect(exit.count).toBe(1);
    await exit.expectEcho(stream, 'still there');
  });

  it('an exit whose session has all its links lets a silent one go for one that joins, and never has more', async () => {
    const exit = new Exit();
    const stream = await exit.open();
    for (let i = 1; i < MAX_LINKS; i++) expect((await exit.join()).answer).toBe('joined');
    expect((await exit.join()).answer).toBe('too-many-links');
    await exit.clock.advance(3_001);
    const later = await Promise.all(Array.from({ length: 100 }, () => exit.join()));
    expect(countOf(later)).toEqual({ joined: MAX_LINKS - 1, 'too-many-links': 100 - (MAX_LINKS - 1) });
    expect(Math.max(...exit.linkCounts)).toBe(MAX_LINKS);
    await exit.expectEcho(stream, 'still there');
  });

  it('an exit finds a session neither under another key of the same entry, nor under another id', async () => {
    const exit = new Exit();
    const stream = await exit.open();
    expect((await exit.join({}, x25519.generateKeyPair())).answer).toBe('session-unknown');
    expect((await exit.join({ kind: 'resume' }, x25519.generateKeyPair())).answer).toBe('session-unknown');
    expect((await exit.join({ id: Buffer.alloc(16, 7) })).answer).toBe('session-unknown');
    expect(exit.linkCounts).toEqual([]);
    expect(exit.count).toBe(1);
    await exit.expectEcho(stream, 'still there');
  });

  it('a request to join that says more was received than was ever sent is rejected, and the session is kept', async () => {
    const exit = new Exit();
    const stream = await exit.open();
    expect((await exit.join({ received: 1_000_000 })).answer).toBe('session-gap');
    expect(exit.count).toBe(1);
    await exit.expectEcho(stream, 'still there');
  });
});
