/**
 * A client with two connectors, in virtual time: direct links lead through a middlebox that swallows what they carry,
 * those of the phone work.
 */
import { describe, expect, it } from 'vitest';
import { sleep } from '../../src/async/abortable.ts';
import { createIdentity } from '../../src/crypto/keys.ts';
import { TicketOpener } from '../../src/crypto/ticket.ts';
import { importKeyPair } from '../../src/crypto/x25519.ts';
import { WstunError } from '../../src/errors.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import type { MessageLink } from '../../src/transport/message-link.ts';
import type { PageDialer } from '../../src/tunnel/dial/connectors.ts';
import { RelaySessionDialer } from '../../src/tunnel/dial/session-dialer.ts';
import { ExitSessions } from '../../src/tunnel/session/exit-sessions.ts';
import { TunnelClient } from '../../src/tunnel/session/tunnel-client.ts';
import type { TunnelStream } from '../../src/tunnel/stream/stream.ts';
import { ECHO } from '../support/links/echoing.ts';
import { memoryLinkPair } from '../support/links/memory-link.ts';
import { Middlebox } from '../support/links/swallowing-link.ts';
import { ALL, type Allowance } from '../support/net/swallowing-proxy.ts';
import { chunks } from '../support/payload.ts';
import { atEnd } from '../support/scope.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

/** Against a busy machine: a second of CPU each. */
const LIMIT_MS = 180_000;
const TRY_BETTER_MS = 200;
/** By so much a phone is the longer way: it is asked on the local network, and dials by mobile data. */
const PHONE_MS = 300;
/** docs/protocol.md §2.4: type, header and Noise's first message; its second; its third. */
const [FIRST, SECOND, THIRD] = [54, 49, 65];
/** Why nothing comes through a direct link whose keys are agreed on. */
const REQUEST_SWALLOWED: Allowance = { up: FIRST + THIRD, down: Number.POSITIVE_INFINITY };
const ANSWER_SWALLOWED: Allowance = { up: Number.POSITIVE_INFINITY, down: SECOND };
/** Far less than any of the limits that would be waited for. */
const NO_INTERRUPTION_MS = 1_000;
/** Of the shuttle; time passes at least in such steps. */
const STEP_MS = 50;

interface TwoWays {
  readonly clock: VirtualClock;
  readonly client: TunnelClient;
  readonly middlebox: Middlebox;
  /** Links by the second way, in order. */
  readonly bySecond: { isOver: boolean }[];
  readonly log: string[];
}

/** @param allowance of direct links, to begin with; default: nothing passes */
function start(allowance?: Allowance): TwoWays {
  const clock = new VirtualClock();
  const [relay, peer] = [createIdentity(), createIdentity()];
  const tickets = new TicketOpener(relay);
  tickets.setPeers([{ name: 'alice', gateKey: peer.public.gate, role: 'client', destination: '' }]);
  const exit = new ExitSessions({
    keys: importKeyPair(relay.exposeSessionKey()),
    peerOf: () => 'alice',
    acceptor: ECHO,
    logger: silentLogger,
    clock,
  });
  const middlebox = new Middlebox(clock, allowance);
  /** As the relay's gate does it. */
  const serve = (link: MessageLink, url: string): void => {
    const decision = tickets.open(url.split('/').at(-1) ?? '', clock.wallTime());
    if (!decision.admitted) throw new Error('the ticket does not open');
    exit.serve(link, decision.peer);
  };
  const dialLink = async (url: URL, { signal }: { readonly signal: AbortSignal }): Promise<MessageLink> => {
    if (signal.aborted) throw new WstunError('dial-cancelled');
    return middlebox.connect((link) => serve(link, url.href));
  };
  const bySecond: { isOver: boolean }[] = [];
  const pages: PageDialer = {
    pages: 1,
    eachPage: [],
    dial: async (makeUrl, signal) => {
      const asked = makeUrl(0);
      await sleep(clock, PHONE_MS, signal);
      if (signal.aborted) throw new WstunError('dial-cancelled');
      const [link, far] = memoryLinkPair();
      serve(far, asked);
      const entry = { isOver: false };
      bySecond.push(entry);
      noteEnd(link, () => {
        entry.isOver = true;
      });
      return Object.assign(link, { asked });
    },
  };
  const invite = {
    relayUrls: ['wss://relay.example.org'],
    relayGateKey: relay.public.gate,
    exitSessionKey: relay.public.session,
    exitName: undefined,
    peer,
  };
  const log: string[] = [];
  const client = new TunnelClient(
    new RelaySessionDialer(invite, 'on', silentLogger, { tether: { pages, direct: true }, clock, dialLink }),
    {
      onConnected: () => void log.push('connected'),
      onLinkLost: () => void log.push('lost'),
      onResumed: () => void log.push('resumed'),
      onSessionLost: ({ fault }) => void log.push(`session lost: ${fault}`),
      onFailed: ({ fault }) => void log.push(`failed: ${fault}`),
    },
    silentLogger,
    { tryBetterMs: TRY_BETTER_MS, clock },
  );
  client.run().catch((error: WstunError) => log.push(`ended ${error.fault}`));
  atEnd(async () => {
    await clock.run(client.close(0));
    await clock.run(exit.close(0));
  });
  return { clock, client, middlebox, bySecond, log };
}

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

/** Sends a chunk each 50 ms, after the one before has come back unchanged. */
class Shuttle {
  rounds = 0;
  /** Rejects when anything else comes back; resolves behind the clean end. */
  readonly done: Promise<void>;
  private readonly clock: VirtualClock;
  private longestMs = 0;
  private stops = false;

  constructor(stream: TunnelStream, clock: VirtualClock) {
    this.clock = clock;
    this.done = this.run(stream);
    this.done.catch(() => {});
  }

  static async start({ client, clock }: TwoWays): Promise<Shuttle> {
    const target = { kind: 'name', name: 'example.org', port: 80 } as const;
    const shuttle = new Shuttle(await clock.run(client.open(target, new AbortController().signal)), clock);
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
    await Promise.race([this.clock.advanceUntil(() => this.rounds > rounds + 10, 60_000), this.done]);
  }

  async stop(): Promise<void> {
    this.stops = true;
    await this.clock.run(this.done);
  }

  private async run(stream: TunnelStream): Promise<void> {
    const incoming = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    const { clock } = this;
    // Time must not jump to a far timer while a chunk is on its way.
    const beat = (): void => void (this.stops || clock.setTimeout(beat, STEP_MS));
    beat();
    for (const chunk of chunks(Number.POSITIVE_INFINITY, 1)) {
      const since = clock.now();
      stream.write(chunk);
      const pieces: Buffer[] = [];
      for (let bytes = 0; bytes < chunk.length; bytes += pieces.at(-1)?.length ?? 0) {
        const { value, done } = await incoming.next();
        if (done) throw new Error('an end came back');
        pieces.push(value);
      }
      if (!Buffer.concat(pieces).equals(chunk)) throw new Error('other bytes came back');
      this.rounds += 1;
      this.longestMs = Math.max(this.longestMs, clock.now() - since);
      if (this.stops) break;
      await sleep(clock, STEP_MS);
    }
    stream.end();
    expect(await incoming.next()).toMatchObject({ done: true });
  }
}

/** Until a direct link is given up that has lasted so long, not counting those before `from`. */
async function untilGivenUp({ clock, middlebox }: TwoWays, from: number, ms: number): Promise<void> {
  await clock.advanceUntil(
    () => middlebox.links.slice(from).some(({ givenUpAfter = 0 }) => givenUpAfter > ms),
    ms + 5_000,
  );
}

describe('a direct path that carries nothing but the upgrade', { timeout: LIMIT_MS }, () => {
  it('a session is carried by the phone within 3 s where direct links carry nothing, and moves to one, uninterrupted, once it works', async () => {
    const ways = start();
    const { clock, middlebox, bySecond, log } = ways;
    const since = clock.now();
    await clock.advanceUntil(() => log.length > 0, 5_000);
    expect(log).toEqual(['connected']);
    expect(clock.now() - since).toBeLessThan(3_000);
    expect(bySecond).toHaveLength(1);

    const shuttle = await Shuttle.start(ways);
    shuttle.takeLongest();
    // The handshake's limit, 10 s.
    await untilGivenUp(ways, 1, 9_000);
    await shuttle.goesOn();
    expect(shuttle.takeLongest()).toBeLessThan(NO_INTERRUPTION_MS);
    expect(bySecond).toEqual([{ isOver: false }]);
    expect(log).toEqual(['connected']);

    middlebox.allow(ALL);
    await clock.advanceUntil(() => bySecond[0]?.isOver === true, 15_000);
    await shuttle.goesOn();
    expect(shuttle.takeLongest()).toBeLessThan(NO_INTERRUPTION_MS);
    await shuttle.stop();
    expect(bySecond).toHaveLength(1);
    expect(middlebox.links.at(-1)).toEqual({ allowance: ALL, givenUpAfter: undefined });
    // The exit lets the old link go when it is asked: that may be here before its answer.
    expect(log.filter((entry) => entry !== 'lost' && entry !== 'resumed')).toEqual(['connected']);
  });
});

describe('a direct path that carries the handshake and nothing after it', { timeout: LIMIT_MS }, () => {
  it('a session is carried by the phone after one direct link swallowed its request; trying a direct link costs 3 s', async () => {
    const ways = start(REQUEST_SWALLOWED);
    const { clock, bySecond, log } = ways;
    await clock.advanceUntil(() => log.includes('connected'), 15_000);
    expect(log).toEqual(['failed: link-slow', 'connected']);
    const shuttle = await Shuttle.start(ways);
    // The limit of an answer beside a link that works, 3 s.
    await untilGivenUp(ways, 1, 2_500);
    await shuttle.goesOn();
    expect(shuttle.takeLongest()).toBeLessThan(3_000 + NO_INTERRUPTION_MS);
    await shuttle.stop();
    expect(bySecond).toEqual([{ isOver: false }]);
    expect(log).toEqual(['failed: link-slow', 'connected']);
  });

  it('a session loses its link, and no byte, to a direct link on which only the exit’s answer is swallowed', async () => {
    const ways = start();
    const { clock, middlebox, bySecond, log } = ways;
    await clock.advanceUntil(() => log.includes('connected'), 5_000);
    middlebox.allow(ANSWER_SWALLOWED);
    const shuttle = await Shuttle.start(ways);
    await clock.advanceUntil(() => log.includes('resumed'), 30_000);
    middlebox.allow(ALL);
    await shuttle.goesOn();
    await shuttle.stop();
    expect(bySecond.length).toBeGreaterThan(1);
    expect(log.filter((entry) => entry.startsWith('session lost'))).toEqual([]);
  });
});
