/**
 * A client with two ways to a relay, over real WebSockets: the first leads through a middlebox that lets upgrades pass
 * and swallows what comes behind, the second, in place of a phone, works.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createIdentity } from '../../src/crypto/keys.ts';
import { TicketOpener } from '../../src/crypto/ticket.ts';
import { importKeyPair } from '../../src/crypto/x25519.ts';
import type { WstunError } from '../../src/errors.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { startRelayServer } from '../../src/relay/relay-server.ts';
import type { MessageLink } from '../../src/transport/message-link.ts';
import { dialWebSocket } from '../../src/transport/websocket-dial.ts';
import type { PageDialer } from '../../src/tunnel/dial/connectors.ts';
import { RelaySessionDialer } from '../../src/tunnel/dial/session-dialer.ts';
import { ExitSessions } from '../../src/tunnel/session/exit-sessions.ts';
import { TunnelClient } from '../../src/tunnel/session/tunnel-client.ts';
import type { TunnelStream } from '../../src/tunnel/stream/stream.ts';
import { ECHO } from '../support/echoing.ts';
import { chunks } from '../support/payload.ts';
import { atEnd } from '../support/scope.ts';
import { ALL, type Allowance, type SwallowingProxy, swallowingProxy } from '../support/swallowing-proxy.ts';
import { until } from '../support/until.ts';

const LIMIT_MS = 60_000;
const TRY_BETTER_MS = 200;
/** By so much a phone is the longer way: it is asked on the local network, and dials by mobile data. */
const PHONE_MS = 300;
/** WebSocket frames of a client and of a relay, with messages so short. */
const up = (bytes: number): number => 6 + bytes;
const down = (bytes: number): number => 2 + bytes;
/** docs/protocol.md §2.4: type, header and Noise's first message; its second; its third. */
const [FIRST, SECOND, THIRD] = [54, 49, 65];
/** Why nothing comes of a first way whose keys stand. */
const REQUEST_SWALLOWED: Allowance = { up: up(FIRST) + up(THIRD), down: Number.POSITIVE_INFINITY };
const ANSWER_SWALLOWED: Allowance = { up: Number.POSITIVE_INFINITY, down: down(SECOND) };
/** A turn of a machine with other things to do; far less than any of the limits that would be waited for. */
const NO_INTERRUPTION_MS = 1_000;

interface TwoWays {
  readonly client: TunnelClient;
  readonly middlebox: SwallowingProxy;
  /** Links by the second way, in order. */
  readonly bySecond: { isOver: boolean }[];
  readonly log: string[];
}

/** @param allowance of the first way, to begin with */
async function start(allowance?: Allowance): Promise<TwoWays> {
  const [relay, peer] = [createIdentity(), createIdentity()];
  const tickets = new TicketOpener(relay);
  tickets.setPeers([{ name: 'alice', gateKey: peer.public.gate, role: 'client', destination: '' }]);
  const exit = new ExitSessions({
    keys: importKeyPair(relay.exposeSessionKey()),
    peerOf: () => 'alice',
    acceptor: ECHO,
    logger: silentLogger,
  });
  const server = await startRelayServer({
    listen: [{ host: '127.0.0.1', port: 0 }],
    tickets,
    onLink: (link, { peer: name }) => exit.serve(link, name),
    logger: silentLogger,
  });
  const port = server.addresses[0]?.port ?? 0;
  const middlebox = await swallowingProxy(port);
  if (allowance !== undefined) middlebox.allow(allowance);
  const bySecond: { isOver: boolean }[] = [];
  const pages: PageDialer = {
    pages: 1,
    dial: async (makeUrl, signal) => {
      const asked = makeUrl(0);
      await delay(PHONE_MS);
      const link = await dialWebSocket(new URL(asked.replace(`:${middlebox.port}/`, `:${port}/`)), { signal });
      const entry = { isOver: false };
      bySecond.push(entry);
      noteEnd(link, () => {
        entry.isOver = true;
      });
      return Object.assign(link, { asked });
    },
  };
  const invite = {
    relayUrls: [`ws://127.0.0.1:${middlebox.port}`],
    relayGateKey: relay.public.gate,
    exitSessionKey: relay.public.session,
    exitName: undefined,
    peer,
  };
  const log: string[] = [];
  const client = new TunnelClient(
    new RelaySessionDialer(invite, 'on', silentLogger, { tether: { pages, direct: true } }),
    {
      onConnected: () => void log.push('connected'),
      onLinkLost: () => void log.push('lost'),
      onResumed: () => void log.push('resumed'),
      onSessionLost: ({ fault }) => void log.push(`session lost: ${fault}`),
      onFailed: ({ fault }) => void log.push(`failed: ${fault}`),
    },
    silentLogger,
    { tryBetterMs: TRY_BETTER_MS },
  );
  client.run().catch((error: WstunError) => log.push(`ended ${error.fault}`));
  atEnd(async () => {
    await client.close(0);
    await exit.close(0);
    server.close();
  });
  return { client, middlebox, bySecond, log };
}

/** Whoever handles the link. */
function noteEnd(link: MessageLink, onEnd: () => void): void {
  const setHandler = link.setHandler.bind(link);
  link.setHandler = (handler) =>
    setHandler({
      handleMessage: (message) => handler.handleMessage(message),
      handleDrain: () => handler.handleDrain(),
      handleClose: (reason) => {
        onEnd();
        handler.handleClose(reason);
      },
    });
}

/** Sends chunk after chunk, each when the one before is back as it was. */
class Shuttle {
  rounds = 0;
  /** Rejects when anything else comes back; resolves behind the clean end. */
  readonly done: Promise<void>;
  private longestMs = 0;
  private stops = false;

  constructor(stream: TunnelStream) {
    this.done = this.run(stream);
    this.done.catch(() => {});
  }

  static async start(client: TunnelClient): Promise<Shuttle> {
    const target = { kind: 'name', name: 'example.org', port: 80 } as const;
    const shuttle = new Shuttle(await client.open(target, new AbortController().signal));
    await shuttle.goesOn();
    return shuttle;
  }

  /** The longest round since the last call, ms. */
  takeLongest(): number {
    const longest = this.longestMs;
    this.longestMs = 0;
    return longest;
  }

  /** Some rounds more. */
  async goesOn(): Promise<void> {
    const { rounds } = this;
    await Promise.race([until(() => this.rounds > rounds + 10, 10_000), this.done]);
  }

  async stop(): Promise<void> {
    this.stops = true;
    await this.done;
  }

  private async run(stream: TunnelStream): Promise<void> {
    const incoming = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    for (const chunk of chunks(Number.POSITIVE_INFINITY, 1)) {
      const since = performance.now();
      stream.write(chunk);
      const pieces: Buffer[] = [];
      for (let bytes = 0; bytes < chunk.length; bytes += pieces.at(-1)?.length ?? 0) {
        const { value, done } = await incoming.next();
        if (done) throw new Error('an end came back');
        pieces.push(value);
      }
      if (!Buffer.concat(pieces).equals(chunk)) throw new Error('other bytes came back');
      this.rounds += 1;
      this.longestMs = Math.max(this.longestMs, performance.now() - since);
      if (this.stops) break;
    }
    stream.end();
    expect(await incoming.next()).toMatchObject({ done: true });
  }
}

/** A link by the first way that is given up when it has stood for so long, not counting those before `from`. */
async function untilGivenUp({ middlebox }: TwoWays, from: number, ms: number): Promise<void> {
  await until(() => middlebox.upgrades.slice(from).some(({ givenUpAfter = 0 }) => givenUpAfter > ms), ms + 5_000);
}

describe('a first way that carries nothing but the upgrade', () => {
  it('leaves the session to the second within seconds, interrupts nothing, and gets it once it works', {
    timeout: LIMIT_MS,
  }, async () => {
    const since = performance.now();
    const ways = await start();
    const { client, middlebox, bySecond, log } = ways;
    await until(() => log.length > 0);
    expect(log).toEqual(['connected']);
    expect(performance.now() - since).toBeLessThan(3_000);
    expect(bySecond).toHaveLength(1);

    const shuttle = await Shuttle.start(client);
    shuttle.takeLongest();
    // The handshake's limit, 10 s.
    await untilGivenUp(ways, 1, 9_000);
    await shuttle.goesOn();
    expect(shuttle.takeLongest()).toBeLessThan(NO_INTERRUPTION_MS);
    expect(bySecond).toEqual([{ isOver: false }]);
    expect(log).toEqual(['connected']);

    middlebox.allow(ALL);
    await until(() => bySecond[0]?.isOver === true, 15_000);
    await shuttle.goesOn();
    expect(shuttle.takeLongest()).toBeLessThan(NO_INTERRUPTION_MS);
    await shuttle.stop();
    expect(bySecond).toHaveLength(1);
    expect(middlebox.upgrades.at(-1)).toEqual({ allowance: ALL, givenUpAfter: undefined });
    // The exit lets the old link go when it is asked: that may be here before its answer.
    expect(log.filter((entry) => entry !== 'lost' && entry !== 'resumed')).toEqual(['connected']);
  });
});

describe('a first way that carries the handshake and nothing behind it', () => {
  it('is not tried a second time before the second has its turn; moving back to it costs a pause', {
    timeout: LIMIT_MS,
  }, async () => {
    const ways = await start(REQUEST_SWALLOWED);
    const { client, bySecond, log } = ways;
    await until(() => log.includes('connected'), 15_000);
    expect(log).toEqual(['failed: link-slow', 'connected']);
    const shuttle = await Shuttle.start(client);
    // The limit of an answer beside a link that works, 3 s.
    await untilGivenUp(ways, 1, 2_500);
    await shuttle.goesOn();
    expect(shuttle.takeLongest()).toBeLessThan(3_000 + NO_INTERRUPTION_MS);
    await shuttle.stop();
    expect(bySecond).toEqual([{ isOver: false }]);
    expect(log).toEqual(['failed: link-slow', 'connected']);
  });

  it('takes the link from the session where only the exit’s answer is swallowed; nothing is lost', {
    timeout: LIMIT_MS,
  }, async () => {
    const ways = await start();
    const { client, middlebox, bySecond, log } = ways;
    await until(() => log.includes('connected'));
    middlebox.allow(ANSWER_SWALLOWED);
    const shuttle = await Shuttle.start(client);
    await until(() => log.includes('resumed'), 30_000);
    middlebox.allow(ALL);
    await shuttle.goesOn();
    await shuttle.stop();
    expect(bySecond.length).toBeGreaterThan(1);
    expect(log.filter((entry) => entry.startsWith('session lost'))).toEqual([]);
  });
});
