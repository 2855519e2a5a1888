/**
 * A session that uses several ways at once: a relay's addresses and phones, in memory and in virtual time. Each way can
 * be made to swallow everything, and then lets no new link through.
 */
import { describe, expect, it } from 'vitest';
import { createIdentity } from '../../src/crypto/keys.ts';
import { TicketOpener } from '../../src/crypto/ticket.ts';
import { importKeyPair } from '../../src/crypto/x25519.ts';
import { WstunError } from '../../src/errors.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import type { MessageLink } from '../../src/transport/message-link.ts';
import type { PageDialer, PageWay } from '../../src/tunnel/dial/connectors.ts';
import { RelaySessionDialer } from '../../src/tunnel/dial/session-dialer.ts';
import { ExitSessions } from '../../src/tunnel/session/exit-sessions.ts';
import { type ClientOptions, TunnelClient } from '../../src/tunnel/session/tunnel-client.ts';
import type { TunnelStream } from '../../src/tunnel/stream/stream.ts';
import { ECHO } from '../support/links/echoing.ts';
import { memoryLinkPair } from '../support/links/memory-link.ts';
import { never } from '../support/never.ts';
import { atEnd } from '../support/scope.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const [FIRST, SECOND, OTHER] = ['192.0.2.1', '192.0.2.2', '198.51.100.1'];
const PHONES = ['phone one', 'phone two'];

interface OpenLink {
  readonly way: string;
  readonly near: MessageLink;
  readonly far: MessageLink;
  isOver: boolean;
}

class Ways {
  readonly clock = new VirtualClock();
  readonly links: OpenLink[] = [];
  readonly log: string[] = [];
  readonly dead = new Set<string>();
  phones: readonly string[] = [];
  dials = 0;
  private readonly relay = createIdentity();
  private readonly peer = createIdentity();
  private readonly tickets = new TicketOpener(this.relay);
  private readonly exit = this.newExit();
  /** Behind OTHER: it has the same keys, and other sessions. */
  private readonly otherExit = this.newExit();

  constructor() {
    this.tickets.setPeers([{ name: 'alice', gateKey: this.peer.public.gate, role: 'client', destination: '' }]);
    atEnd(async () => {
      await this.clock.run(this.exit.close(0));
      await this.clock.run(this.otherExit.close(0));
    });
  }

  async start(options: { relays?: string[]; isBonded?: boolean; direct?: boolean } & ClientOptions = {}) {
    const { clock, log } = this;
    const { relays = ['wss://relay.example.org'], isBonded = true, direct = true, ...rest } = options;
    const invite = {
      relayUrls: relays,
      relayGateKey: this.relay.public.gate,
      exitSessionKey: this.relay.public.session,
      exitName: undefined,
      peer: this.peer,
    };
    const dialLink = async (
      url: URL,
      given: { readonly signal: AbortSignal; readonly address?: string | undefined },
    ) => {
      const usual = url.hostname.startsWith('other') ? OTHER : FIRST;
      return this.connect(given.address ?? usual, `${given.address ?? usual}:443`, url.href, given.signal);
    };
    const lookup = async (name: string) =>
      (name.startsWith('other') ? [OTHER] : [FIRST, SECOND]).map((address) => ({ address, family: 4 }));
    const tether =
      options.direct === undefined && this.phones.length === 0 ? undefined : { pages: this.pages(), direct };
    const dialer = new RelaySessionDialer(invite, 'on', silentLogger, { clock, dialLink, lookup, tether });
    const client = new TunnelClient(
      dialer,
      {
        onConnected: () => void log.push('connected'),
        onLinkLost: () => void log.push('lost'),
        onSessionLost: ({ fault }) => void log.push(`session lost: ${fault}`),
        onFailed: ({ fault }) => void log.push(`failed: ${fault}`),
      },
      silentLogger,
      { ...rest, clock, ...(isBonded && { findWays: () => dialer.ways() }) },
    );
    client.run().catch((error: WstunError) => log.push(`ended ${error.fault}`));
    atEnd(() => clock.run(client.close(0)));
    await clock.advanceUntil(() => log.includes('connected'), 10_000);
    await clock.advance(100);
    const target = { kind: 'name', name: 'example.org', port: 80 } as const;
    return { client, stream: await clock.run(client.open(target, never)) };
  }

  /** Of each link that is open, by which way it is. */
  get open(): readonly string[] {
    return this.links
      .filter(({ isOver }) => !isOver)
      .map(({ way }) => way)
      .sort((a, b) => (a < b ? -1 : 1));
  }

  /** Its links carry nothing any more, and it lets no new one through. */
  kill(way: string): void {
    this.dead.add(way);
    for (const link of this.links.filter((one) => one.way === way && !one.isOver)) {
      link.near.pause();
      link.far.pause();
    }
  }

  private newExit(): ExitSessions {
    return new ExitSessions({
      keys: importKeyPair(this.relay.exposeSessionKey()),
      peerOf: () => 'alice',
      acceptor: ECHO,
      logger: silentLogger,
      clock: this.clock,
    });
  }

  private pages(): PageDialer {
    const ways = this;
    const dial =
      (name: string): PageWay['dial'] =>
      async (makeUrl, signal) => {
        const asked = makeUrl(0);
        return Object.assign(ways.connect(name, name, asked, signal), { asked });
      };
    return {
      get pages() {
        return ways.phones.length;
      },
      get eachPage() {
        return ways.phones.map((name) => ({ name, dial: dial(name) }));
      },
      dial: (makeUrl, signal) => dial(ways.phones[0] ?? 'none')(makeUrl, signal),
    };
  }

  private connect(way: string, remote: string, url: string, signal: AbortSignal): MessageLink {
    this.dials += 1;
    if (signal.aborted) throw new WstunError('dial-cancelled');
    if (this.dead.has(way)) throw new WstunError('relay-unreachable');
    const decision = this.tickets.open(url.split('/').at(-1) ?? '', this.clock.wallTime());
    if (!decision.admitted) throw new Error('the ticket does not open');
    const [near, far] = memoryLinkPair({ clock: this.clock });
    const link: OpenLink = { way, near, far, isOver: false };
    this.links.push(link);
    (way === OTHER ? this.otherExit : this.exit).serve(noting(far, link), decision.peer);
    return Object.assign(near, { remote });
  }
}

function noting(far: MessageLink, entry: OpenLink): MessageLink {
  const setHandler = far.setHandler.bind(far);
  far.setHandler = (handler) =>
    setHandler({
      handleMessage: (message) => handler.handleMessage(message),
      handleDrain: () => handler.handleDrain(),
      handleClose: (reason) => {
        entry.isOver = true;
        handler.handleClose(reason);
      },
    });
  return far;
}

/** How long it takes, ms. */
async function echoed(clock: VirtualClock, stream: TunnelStream, text: string): Promise<number> {
  const since = clock.now();
  let got = '';
  const onData = (bytes: Buffer): void => {
    got += bytes.toString();
  };
  stream.on('data', onData);
  stream.write(text);
  await clock.advanceUntil(() => got.length >= text.length, 30_000);
  stream.off('data', onData);
  expect(got).toBe(text);
  return clock.now() - since;
}

describe('a session that uses all ways at once', () => {
  it('a session has a link on each address of its relay’s name', async () => {
    const ways = new Ways();
    const { stream } = await ways.start();
    expect(ways.open).toEqual([FIRST, SECOND]);
    expect(await echoed(ways.clock, stream, 'over both')).toBeLessThan(100);
    await ways.clock.advance(120_000);
    expect(ways.open).toEqual([FIRST, SECOND]);
    expect(ways.dials).toBe(2);
  });

  it('a session has a link by each phone and on each address; without a direct connection, by the phones only', async () => {
    const ways = new Ways();
    ways.phones = PHONES;
    await ways.start();
    expect(ways.open).toEqual([FIRST, SECOND, ...PHONES]);
    const byPhones = new Ways();
    byPhones.phones = PHONES;
    await byPhones.start({ direct: false });
    expect(byPhones.open).toEqual(PHONES);
  });

  it('a session uses a phone that joins later', async () => {
    const ways = new Ways();
    const { client } = await ways.start({ direct: true });
    expect(ways.open).toEqual([FIRST, SECOND]);
    ways.phones = PHONES.slice(0, 1);
    client.reconnectNow('new-connector');
    await ways.clock.advance(100);
    expect(ways.open).toEqual([FIRST, SECOND, 'phone one']);
  });

  it('with a number of links, those beyond one for each way go to the ways with the fewest', async () => {
    const ways = new Ways();
    await ways.start({ links: 5 });
    expect(ways.open.filter((way) => way === FIRST).length).toBeGreaterThanOrEqual(2);
    expect(ways.open.filter((way) => way === SECOND).length).toBeGreaterThanOrEqual(2);
    expect(ways.open).toHaveLength(5);
  });

  it('a session goes on within a second when a way dies, tries it again with pauses, and takes it back', async () => {
    const ways = new Ways();
    const { stream } = await ways.start();
    const { clock, log } = ways;
    await echoed(clock, stream, 'both are proven');
    ways.kill(FIRST);
    for (let i = 0; i < 20; i++) {
      expect(await echoed(clock, stream, `after ${i}`)).toBeLessThan(1_000);
      await clock.advance(500);
    }
    expect(ways.open).toEqual([SECOND]);
    const dialled = ways.dials;
    await clock.advance(120_000);
    expect(ways.dials - dialled).toBeLessThan(10);
    ways.dead.clear();
    await clock.advance(90_000);
    expect(ways.open).toEqual([FIRST, SECOND]);
    expect(log).toEqual(['connected']);
  });

  it('a relay whose own exit does not have the session is no way, and does not end it', async () => {
    const ways = new Ways();
    const { stream } = await ways.start({ relays: ['wss://relay.example.org', 'wss://other.example.org'] });
    const { clock, log } = ways;
    await clock.advance(300_000);
    expect(ways.open).toEqual([FIRST, SECOND]);
    // One was answered session-unknown.
    expect(ways.dials).toBe(3);
    expect(await echoed(clock, stream, 'still here')).toBeLessThan(100);
    expect(log).toEqual(['connected']);
  });
});

describe('a session that uses the better way', () => {
  it('a session has one link where it has a choice of addresses and phones', async () => {
    const ways = new Ways();
    ways.phones = PHONES;
    await ways.start({ isBonded: false });
    await ways.clock.advance(120_000);
    expect(ways.open).toEqual([FIRST]);
    expect(ways.dials).toBe(1);
  });

  it('further links of a session that is carried directly do not take the phone', async () => {
    const ways = new Ways();
    ways.phones = PHONES;
    const { stream } = await ways.start({ isBonded: false, links: 3 });
    expect(ways.open).toEqual([FIRST, FIRST, FIRST]);
    ways.dead.add(FIRST);
    ways.links.find(({ isOver }) => !isOver)?.near.abort();
    await ways.clock.advance(60_000);
    expect(ways.open).toEqual([FIRST, FIRST]);
    expect(await echoed(ways.clock, stream, 'direct')).toBeLessThan(100);
  });
});
