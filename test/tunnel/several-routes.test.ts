/** A client and an exit in virtual time, where the network lets WebSockets through, or not, or no more. */
import { describe, expect, it } from 'vitest';
import { createIdentity } from '../../src/crypto/keys.ts';
import { HTTP_FEATURE, TicketOpener } from '../../src/crypto/ticket.ts';
import { importKeyPair } from '../../src/crypto/x25519.ts';
import { WstunError } from '../../src/errors.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import type { MessageLink } from '../../src/transport/message-link.ts';
import { RelaySessionDialer } from '../../src/tunnel/dial/session-dialer.ts';
import { ExitSessions } from '../../src/tunnel/session/exit-sessions.ts';
import { TunnelClient } from '../../src/tunnel/session/tunnel-client.ts';
import type { TunnelStream } from '../../src/tunnel/stream/stream.ts';
import { ECHO } from '../support/links/echoing.ts';
import { memoryLinkPair } from '../support/links/memory-link.ts';
import { atEnd } from '../support/scope.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

type Network =
  | 'lets WebSockets through'
  | 'strips upgrades'
  | 'swallows what follows the 101'
  | 'cuts WebSockets after 300 ms';

const HOUR_MS = 3_600_000;
/** Of CPU, on a busy machine. */
const LIMIT_MS = 180_000;

class World {
  readonly clock = new VirtualClock();
  readonly client: TunnelClient;
  readonly log: string[] = [];
  /** Of all dials. */
  readonly dials: string[] = [];
  network: Network = 'lets WebSockets through';
  private readonly links = new Map<MessageLink, string>();
  private readonly exit: ExitSessions;
  private readonly tickets: TicketOpener;

  constructor() {
    const { clock, log } = this;
    const [relay, peer] = [createIdentity(), createIdentity()];
    this.tickets = new TicketOpener(relay);
    this.tickets.setPeers([{ name: 'alice', gateKey: peer.public.gate, role: 'client', destination: '' }]);
    const keys = importKeyPair(relay.exposeSessionKey());
    this.exit = new ExitSessions({ keys, peerOf: () => 'alice', acceptor: ECHO, logger: silentLogger, clock });
    const invite = {
      relayUrls: ['wss://relay.example.org'],
      relayGateKey: relay.public.gate,
      exitSessionKey: relay.public.session,
      exitName: undefined,
      peer,
    };
    const dialer = new RelaySessionDialer(invite, 'on', silentLogger, {
      clock,
      dialLink: async (url, { signal, onConnected }, carrier) => {
        if (signal.aborted) throw new WstunError('dial-cancelled');
        this.dials.push(carrier);
        onConnected?.();
        return this.link(url, carrier);
      },
      routes: {
        onNotice: (notice) => {
          const { type } = notice;
          log.push(type === 'route' ? `${type} ${notice.route.carrier}` : type);
        },
      },
    });
    this.client = new TunnelClient(
      dialer,
      {
        onConnected: () => void log.push('connected'),
        onLinkLost: () => void log.push('lost'),
        onResumed: ({ awayMs }) => void log.push(`resumed ${awayMs < 5_000 ? 'in 5 s' : 'later'}`),
        onSessionLost: ({ fault }) => void log.push(`session lost: ${fault}`),
        onFailed: ({ fault }) => void log.push(`failed: ${fault}`),
      },
      silentLogger,
      { clock },
    );
    this.client.run().catch((error: WstunError) => log.push(`ended ${error.fault}`));
    atEnd(async () => {
      await clock.run(this.client.close(0));
      await clock.run(this.exit.close(0));
    });
  }

  /** Links that carry something may do so no more. */
  switchTo(network: Network): void {
    this.network = network;
    if (network === 'lets WebSockets through') return;
    for (const [link, carrier] of this.links) if (carrier === 'websocket') link.abort();
  }

  async open(): Promise<TunnelStream> {
    const target = { kind: 'name', name: 'example.org', port: 80 } as const;
    return await this.clock.run(this.client.open(target, new AbortController().signal));
  }

  private link(url: URL, carrier: string): MessageLink {
    const decision = this.tickets.open(url.pathname.slice(1), this.clock.wallTime());
    if (!decision.admitted) throw new Error('the ticket does not open');
    expect((decision.fields.features & HTTP_FEATURE) !== 0).toBe(carrier === 'http');
    const [near, far] = memoryLinkPair();
    if (carrier === 'http' || this.network === 'lets WebSockets through') {
      this.exit.serve(far, decision.peer);
      this.links.set(near, carrier);
    } else if (this.network === 'cuts WebSockets after 300 ms') {
      this.exit.serve(far, decision.peer);
      this.clock.setTimeout(() => near.abort(), 300);
    } else if (this.network === 'strips upgrades') throw new WstunError('upgrade-dropped', 'nginx');
    return near;
  }
}

/** One of each stream, because an iterator that is not done keeps its listeners. */
const iterators = new WeakMap<TunnelStream, AsyncIterator<Buffer>>();

function incomingOf(stream: TunnelStream): AsyncIterator<Buffer> {
  const incoming = iterators.get(stream) ?? (stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>);
  iterators.set(stream, incoming);
  return incoming;
}

async function expectEcho({ clock }: World, stream: TunnelStream, text: string): Promise<void> {
  stream.write(text);
  let got = '';
  const done = (async () => {
    const incoming = incomingOf(stream);
    while (got.length < text.length) got += (await incoming.next()).value.toString();
  })();
  await clock.run(done);
  expect(got).toBe(text);
}

describe('a session in a network that lets no WebSocket through', () => {
  it.each<Network>(['strips upgrades', 'swallows what follows the 101'])(
    'begins by HTTP link where the network %s, and moves to a WebSocket without a gap when one passes',
    async (network) => {
      const world = new World();
      world.network = network;
      const stream = await world.open();
      await expectEcho(world, stream, 'by HTTP link');
      expect(world.clock.now()).toBeLessThan(3_000);
      expect(world.log).toEqual(['route http', 'connected']);
      world.network = 'lets WebSockets through';
      await world.clock.advanceUntil(() => world.log.includes('route websocket'), 300_000);
      await expectEcho(world, stream, 'by WebSocket');
      expect(world.log).toEqual(['route http', 'connected', 'route websocket']);
    },
    LIMIT_MS,
  );

  it(
    'tries a WebSocket beside its HTTP link less than 20 times an hour',
    async () => {
      const world = new World();
      world.network = 'strips upgrades';
      const stream = await world.open();
      world.dials.length = 0;
      await world.clock.advance(HOUR_MS);
      const tries = world.dials.filter((carrier) => carrier === 'websocket').length;
      expect(tries).toBeGreaterThan(10);
      expect(tries).toBeLessThan(20);
      await expectEcho(world, stream, 'still here');
      expect(world.log).toEqual(['route http', 'connected']);
    },
    LIMIT_MS,
  );

  it.each<Network>(['strips upgrades', 'swallows what follows the 101'])(
    'goes on within 5 s by HTTP link, with its streams, where the network suddenly %s',
    async (network) => {
      const world = new World();
      const stream = await world.open();
      await expectEcho(world, stream, 'by WebSocket');
      world.switchTo(network);
      await world.clock.advanceUntil(() => world.log.some((line) => line.startsWith('resumed')), 60_000);
      await expectEcho(world, stream, 'by HTTP link');
      expect(world.log).toContain('resumed in 5 s');
      expect(world.log.filter((line) => /session|failed|ended/.test(line))).toEqual([]);
    },
    LIMIT_MS,
  );

  it(
    'goes on by HTTP link where each WebSocket is cut after 300 ms, and seldom tries one again',
    async () => {
      const world = new World();
      world.network = 'cuts WebSockets after 300 ms';
      const stream = await world.open();
      let longestMs = 0;
      for (const until = HOUR_MS; world.clock.now() < until; await world.clock.advance(2_000)) {
        const since = world.clock.now();
        await expectEcho(world, stream, 'still here');
        longestMs = Math.max(longestMs, world.clock.now() - since);
      }
      expect(longestMs).toBeLessThan(1_000);
      expect(world.log.filter((line) => line === 'lost').length).toBeLessThan(25);
      expect(world.dials.filter((carrier) => carrier === 'http').length).toBeLessThan(25);
      expect(world.log.filter((line) => /session|failed|ended/.test(line))).toEqual([]);
    },
    LIMIT_MS,
  );

  it(
    'moves to a WebSocket again, and stays there, where they are not cut any more',
    async () => {
      const world = new World();
      world.network = 'cuts WebSockets after 300 ms';
      const stream = await world.open();
      await world.clock.advance(60_000);
      await expectEcho(world, stream, 'by HTTP link');
      world.network = 'lets WebSockets through';
      await world.clock.advance(400_000);
      expect(world.dials.at(-1)).toBe('websocket');
      const dials = world.dials.length;
      await world.clock.advance(HOUR_MS);
      await expectEcho(world, stream, 'by WebSocket');
      expect(world.dials).toHaveLength(dials);
    },
    LIMIT_MS,
  );
});
