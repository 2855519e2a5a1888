/** A client with several links in memory and in virtual time, where its relay restarts or its network is in the way. */
import { describe, expect, it } from 'vitest';
import { sleep } from '../../../src/async/abortable.ts';
import { createIdentity } from '../../../src/crypto/keys.ts';
import { importKeyPair } from '../../../src/crypto/x25519.ts';
import { WstunError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { SessionRequest } from '../../../src/protocol/session-request.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import type { LinkPurpose } from '../../../src/tunnel/dial/connectors.ts';
import { initiateSecureLink } from '../../../src/tunnel/dial/handshake.ts';
import { negotiateSession, type SessionDialer, type SessionLink } from '../../../src/tunnel/dial/session-dialer.ts';
import { ExitSessions } from '../../../src/tunnel/session/exit-sessions.ts';
import { type ClientOptions, TunnelClient } from '../../../src/tunnel/session/tunnel-client.ts';
import { ECHO } from '../../support/links/echoing.ts';
import { memoryLinkPair } from '../../support/links/memory-link.ts';
import { atEnd } from '../../support/scope.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const ROUND_TRIP_MS = 20;

class Network implements SessionDialer {
  readonly clock = new VirtualClock();
  readonly log: string[] = [];
  links: MessageLink[] = [];
  dials = 0;
  /** Of each dial: whether it was for one more link of a session. */
  readonly purposes: (LinkPurpose | undefined)[] = [];
  /** Messages of the client. */
  sent = 0;
  isAway = false;
  /** A new connection ends the one before. */
  allowsOne = false;
  isShortOfLinks = false;
  /** So many dials are by the fallback. */
  fallbackDials = 0;
  /** Which links the client has ended in order, by their dial. */
  readonly closed: number[] = [];
  private readonly identity = createIdentity();
  private readonly peer = createIdentity();
  private readonly exit = new ExitSessions({
    keys: importKeyPair(this.identity.exposeSessionKey()),
    peerOf: () => 'alice',
    isShortOfLinks: () => this.isShortOfLinks,
    acceptor: ECHO,
    logger: silentLogger,
    clock: this.clock,
  });

  async start(options: ClientOptions): Promise<TunnelClient> {
    const { clock, log } = this;
    const client = new TunnelClient(
      this,
      {
        onConnected: () => void log.push('connected'),
        onLinkLost: () => void log.push('lost'),
        onSessionLost: ({ fault }) => void log.push(`session lost: ${fault}`),
        onLimit: ({ by }) => void log.push(`limit: ${by}`),
      },
      silentLogger,
      { ...options, clock },
    );
    client.run().catch((error: WstunError) => log.push(`ended ${error.fault}`));
    atEnd(() => clock.run(client.close(0)));
    atEnd(() => clock.run(this.exit.close(0)));
    await clock.advanceUntil(() => log.includes('connected'), 10_000);
    return client;
  }

  async dial(request: () => SessionRequest, signal: AbortSignal, purpose?: LinkPurpose): Promise<SessionLink> {
    this.dials += 1;
    this.purposes.push(purpose);
    const number = this.dials;
    if (this.isAway) throw new WstunError('relay-unreachable');
    if (this.allowsOne) this.endAll();
    const { clock } = this;
    const [near, far] = memoryLinkPair();
    this.links.push(near);
    const send = near.send.bind(near);
    near.send = (message) => {
      this.sent += 1;
      return send(message);
    };
    await sleep(clock, ROUND_TRIP_MS, signal);
    this.exit.serve(far, 'alice');
    const keys = importKeyPair(this.peer.exposeSessionKey());
    const exitKey = this.identity.public.session;
    const link = await initiateSecureLink(near, { keys, exitKey, suite: 'AESGCM', encryption: 'on', clock }, signal);
    const close = link.close.bind(link);
    link.close = (code) => {
      this.closed.push(number);
      close(code);
    };
    const session = await negotiateSession(link, request(), signal, { clock });
    return number <= this.fallbackDials ? { ...session, better: this } : session;
  }

  endAll(): void {
    const { links } = this;
    this.links = [];
    for (const link of links) link.abort();
  }

  async restart(awayMs: number): Promise<void> {
    this.isAway = awayMs > 0;
    this.endAll();
    await this.clock.advance(awayMs);
    this.isAway = false;
  }
}

describe('Several links', () => {
  it('a relay that ends all links of a session at once is no limit of the network', async () => {
    const network = new Network();
    await network.start({ links: 8 });
    await network.clock.advance(10_000);
    await network.restart(0);
    await network.clock.advance(10_000);
    expect(network.log).toEqual(['connected', 'lost']);
  });

  it('the relay is told of each further link, and not of the one that begins or resumes a session', async () => {
    const network = new Network();
    await network.start({ links: 3 });
    await network.clock.advance(1_000);
    expect(network.purposes).toEqual([undefined, 'further', 'further']);
    network.endAll();
    await network.clock.advance(10_000);
    expect(network.purposes.slice(-3)).toEqual([undefined, 'further', 'further']);
  });

  it('a session by the fallback moves to the preferred connector when a link by that joins, without a gap', async () => {
    const network = new Network();
    network.fallbackDials = 1;
    await network.start({ links: 2, tryBetterMs: 3_600_000 });
    await network.clock.advance(5_000);
    expect({ dials: network.dials, closed: network.closed, log: network.log }).toEqual({
      ...{ dials: 3, closed: [1], log: ['connected'] },
    });
  });

  it('a relay that restarts every ten seconds is no limit of the network', async () => {
    const network = new Network();
    await network.start({ links: 1 });
    for (let n = 0; n < 6; n++) {
      await network.clock.advance(10_000);
      await network.restart(200);
    }
    expect(network.log.filter((entry) => entry.startsWith('limit'))).toEqual([]);
  });

  it('where links without traffic end after about as long, and others can be opened at once, the client learns that', async () => {
    const network = new Network();
    await network.start({ links: 1 });
    for (let n = 0; n < 3; n++) {
      await network.clock.advance(10_000);
      network.endAll();
    }
    await network.clock.advance(1_000);
    expect(network.log.filter((entry) => entry.startsWith('limit'))).toEqual(['limit: idleMs']);
  });

  it('what was learnt of a network is forgotten after an hour, and learnt again without being told', async () => {
    const network = new Network();
    await network.start({ links: 1 });
    const cut = async (times: number) => {
      for (let n = 0; n < times; n++) {
        await network.clock.advance(10_000);
        network.endAll();
      }
      await network.clock.advance(1_000);
    };
    /** An idle session sends pings only, each 14 s: more often where the network cuts connections that are silent. */
    const sentInFourIntervals = async () => {
      const before = network.sent;
      await network.clock.advance(4 * 14_000);
      return network.sent - before;
    };
    // The first one has HELLO, too.
    await sentInFourIntervals();
    const usual = await sentInFourIntervals();
    await cut(3);
    expect(await sentInFourIntervals()).toBeGreaterThan(2 * usual);
    await network.clock.advance(3_600_000);
    expect(await sentInFourIntervals()).toBe(usual);
    // The first of them has sent less often until now.
    await cut(4);
    expect(await sentInFourIntervals()).toBeGreaterThan(2 * usual);
    await network.clock.advance(3_600_000);
    expect(await sentInFourIntervals()).toBeGreaterThan(2 * usual);
    expect(network.log.filter((entry) => entry.startsWith('limit'))).toEqual(['limit: idleMs']);
  });

  it.each([{ links: 2 }, { links: 2, linkUse: { ageMs: 30_000 } }, { links: 8, linkUse: { ageMs: 5_000 } }])(
    'a network that allows one connection at a time is not asked for a second one again and again: %j',
    async (options) => {
      const network = new Network();
      await network.start(options);
      network.allowsOne = true;
      network.endAll();
      await network.clock.advance(600_000);
      // 2 s, 4 s, 8 s … between attempts, and a link after each.
      expect(network.log.filter((entry) => entry === 'lost').length).toBeLessThan(20);
      expect(network.log.filter((entry) => entry.startsWith('limit'))).toEqual([]);
    },
  );

  it('an exit that is short of links admits no second one, and the session goes on', async () => {
    const network = new Network();
    network.isShortOfLinks = true;
    await network.start({ links: 4 });
    await network.clock.advance(60_000);
    expect(network.log).toEqual(['connected']);
    const attempts = network.dials;
    network.isShortOfLinks = false;
    await network.clock.advance(120_000);
    expect(network.dials).toBeGreaterThan(attempts + 2);
    network.isShortOfLinks = true;
    network.endAll();
    await network.clock.advance(1_000);
    expect(network.log).toEqual(['connected', 'lost']);
  });
});
