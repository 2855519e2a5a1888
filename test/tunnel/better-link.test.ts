/**
 * A session whose link is by the fallback: the preferred connector is tried beside it, and its link carries the session
 * only when the exit has answered. In virtual time.
 */
import { describe, expect, it } from 'vitest';
import { createIdentity } from '../../src/crypto/keys.ts';
import { importKeyPair } from '../../src/crypto/x25519.ts';
import { type FaultName, WstunError } from '../../src/errors.ts';
import { DEFAULT_RESUME_CONFIG, PROCESS_RETRANSMIT_BYTES } from '../../src/mux/links/resume-config.ts';
import { RetransmitMemory } from '../../src/mux/links/retransmit-store.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import type { SessionRequest } from '../../src/protocol/session-request.ts';
import type { MessageLink } from '../../src/transport/message-link.ts';
import { initiateSecureLink } from '../../src/tunnel/dial/handshake.ts';
import type { SecureLink } from '../../src/tunnel/dial/secure-link.ts';
import { negotiateSession, type SessionDialer, type SessionLink } from '../../src/tunnel/dial/session-dialer.ts';
import { Backoff } from '../../src/tunnel/reconnect/backoff.ts';
import { LinkLimits } from '../../src/tunnel/reconnect/link-limits.ts';
import { ExitSessions } from '../../src/tunnel/session/exit-sessions.ts';
import { ReconnectingSession } from '../../src/tunnel/session/reconnecting-session.ts';
import { type ClientOptions, TunnelClient } from '../../src/tunnel/session/tunnel-client.ts';
import type { Target, TunnelStream } from '../../src/tunnel/stream/stream.ts';
import { ECHO } from '../support/links/echoing.ts';
import { turns } from '../support/links/link-recorder.ts';
import { memoryLinkPair } from '../support/links/memory-link.ts';
import { never } from '../support/never.ts';
import { atEnd } from '../support/scope.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const target: Target = { kind: 'name', name: 'example.org', port: 80 };
const TRY_BETTER_MS = 3_000;

/** A dial by the better way, which a test answers. */
class BetterDial {
  readonly signal: AbortSignal;
  private readonly ways: TwoWays;
  private readonly request: () => SessionRequest;
  private readonly settle: { resolve(link: SessionLink): void; reject(error: WstunError): void };

  constructor(
    ways: TwoWays,
    request: () => SessionRequest,
    signal: AbortSignal,
    settle: { resolve(link: SessionLink): void; reject(error: WstunError): void },
  ) {
    this.signal = signal;
    this.ways = ways;
    this.request = request;
    this.settle = settle;
    signal.addEventListener('abort', () => this.fail('dial-cancelled'));
  }

  fail(fault: FaultName): void {
    this.settle.reject(new WstunError(fault));
  }

  /** The keys stand, and the exit is about to be asked: what this returns asks it. */
  async reach(): Promise<() => Promise<void>> {
    const { link } = await this.ways.secured();
    const request = this.request();
    return () => negotiateSession(link, request, never, this.ways).then(this.settle.resolve, this.settle.reject);
  }

  async work(): Promise<void> {
    await (await this.reach())();
  }
}

/** An exit in memory that echoes; each `dial` brings a link by the fallback. */
class TwoWays implements SessionDialer {
  readonly clock = new VirtualClock();
  private readonly exitIdentity = createIdentity();
  private readonly peer = createIdentity();
  exit = this.newExit();
  /** By the second choice: our ends, and the exit's. */
  readonly links: { readonly near: MessageLink; readonly far: MessageLink; isLetGo: boolean }[] = [];
  readonly betterDials: BetterDial[] = [];

  newExit(): ExitSessions {
    return new ExitSessions({
      keys: importKeyPair(this.exitIdentity.exposeSessionKey()),
      peerOf: () => 'alice',
      acceptor: ECHO,
      logger: silentLogger,
      clock: this.clock,
    });
  }

  async secured(): Promise<{ link: SecureLink; near: MessageLink; far: MessageLink }> {
    const [near, far] = memoryLinkPair();
    this.exit.serve(far, 'alice');
    const keys = importKeyPair(this.peer.exposeSessionKey());
    const exitKey = this.exitIdentity.public.session;
    const pinned = { keys, exitKey, suite: 'AESGCM', encryption: 'on', clock: this.clock } as const;
    return { link: await initiateSecureLink(near, pinned, never), near, far };
  }

  async dial(request: () => SessionRequest): Promise<SessionLink> {
    const { link, near, far } = await this.secured();
    const entry = { near, far, isLetGo: false };
    const abort = link.abort.bind(link);
    link.abort = () => {
      entry.isLetGo = true;
      abort();
    };
    this.links.push(entry);
    const better: SessionDialer = {
      dial: (ask, signal) =>
        new Promise((resolve, reject) => {
          this.betterDials.push(new BetterDial(this, ask, signal, { resolve, reject }));
        }),
    };
    return { ...(await negotiateSession(link, request(), never, this)), better };
  }

  /** The only one so far that is not answered. */
  takeBetterDial(): BetterDial {
    const [dial] = this.betterDials.splice(0);
    if (dial === undefined) throw new Error('the better way is not dialled');
    return dial;
  }
}

/** A client of it whose first session stands, and a stream on that. */
async function start(options: ClientOptions = {}) {
  const ways = new TwoWays();
  const { clock } = ways;
  const log: string[] = [];
  const note = (entry: string): void => void log.push(entry);
  const until = (entry: string): Promise<void> => clock.advanceUntil(() => log.includes(entry), 20_000);
  const observer = {
    onConnected: () => note('connected'),
    onLinkLost: () => note('lost'),
    onResumed: () => note('resumed'),
    onSessionLost: ({ fault }: WstunError) => note(`session lost: ${fault}`),
    onFailed: ({ fault }: WstunError) => note(`failed: ${fault}`),
  };
  const said: string[] = [];
  const say = (_fields: object, message: string): void => void said.push(message);
  const client = new TunnelClient(
    ways,
    observer,
    { ...silentLogger, info: say, warn: say, error: say },
    { ...options, clock },
  );
  const ended = client.run();
  const close = async (): Promise<void> => {
    const closed = client.close(0);
    await clock.advance(1);
    await closed;
  };
  atEnd(async () => {
    await close();
    await ended;
  });
  await until('connected');
  const stream = await client.open(target, never);
  return { ways, clock, client, log, said, until, stream, close };
}

async function expectEcho(stream: TunnelStream, text: string): Promise<void> {
  const echoed = new Promise<string>((resolve) => stream.once('data', (bytes: Buffer) => resolve(bytes.toString())));
  stream.write(text);
  expect(await echoed).toBe(text);
}

/** More than the links in memory need to carry a handshake and a request. */
const settled = (): Promise<void> => turns(50);

describe('a session whose link is by the fallback', () => {
  it('a session moves after three seconds to a link by the preferred connector, and its streams notice nothing', async () => {
    const { ways, clock, log, stream } = await start();
    await clock.advance(TRY_BETTER_MS - 1);
    expect(ways.betterDials).toHaveLength(0);
    await clock.advance(1);
    const answer = await ways.takeBetterDial().reach();
    await expectEcho(stream, 'by the second choice');
    expect(ways.links[0]?.isLetGo).toBe(false);
    await answer();
    await settled();
    expect(ways.links[0]?.isLetGo).toBe(true);
    await expectEcho(stream, 'by the better way');
    // There is no better one to that.
    await clock.advance(10 * TRY_BETTER_MS);
    expect(ways.betterDials).toHaveLength(0);
    expect(ways.links).toHaveLength(1);
    expect(log).toEqual(['connected']);
  });

  it('a session keeps its link while the preferred connector fails, which is tried with pauses that double to 6.4 minutes and not reported', async () => {
    const { ways, clock, log, said, stream } = await start();
    const three = ['link-slow', 'relay-refused', 'link-lost'] as const;
    const faults = [...three, ...three, ...three];
    for (const [i, fault] of faults.entries()) {
      await clock.advance(TRY_BETTER_MS * Math.min(2 ** i, 128) - 1);
      expect(ways.betterDials).toHaveLength(0);
      await clock.advance(1);
      ways.takeBetterDial().fail(fault);
      await settled();
      await expectEcho(stream, fault);
    }
    expect(ways.links.map(({ isLetGo }) => isLetGo)).toEqual([false]);
    expect(log).toEqual(['connected']);
    expect(said).toEqual([]);
  });

  it('a session keeps its link where the exit does not answer on the one by the preferred connector', async () => {
    const { ways, clock, log, stream } = await start();
    await clock.advance(TRY_BETTER_MS);
    const dial = ways.takeBetterDial();
    await dial.reach();
    dial.fail('link-slow');
    await settled();
    await expectEcho(stream, 'still here');
    await clock.advance(2 * TRY_BETTER_MS);
    await ways.takeBetterDial().work();
    await expectEcho(stream, 'moved');
    expect(log).toEqual(['connected']);
  });

  it('a session that loses its link aborts an attempt by the preferred connector that hangs, and uses any connector', async () => {
    const { ways, clock, log, until, stream } = await start();
    await clock.advance(TRY_BETTER_MS);
    const { signal } = ways.takeBetterDial();
    ways.links[0]?.near.abort();
    await until('resumed');
    expect(signal.aborted).toBe(true);
    expect(ways.links).toHaveLength(2);
    await expectEcho(stream, 'resumed');
    expect(log).toEqual(['connected', 'lost', 'resumed']);
    // The three seconds begin anew.
    await clock.advance(TRY_BETTER_MS - 1);
    expect(ways.betterDials).toHaveLength(0);
    await clock.advance(1);
    expect(ways.betterDials).toHaveLength(1);
  });

  it('a session that loses its link when the exit was asked on the next one waits for the answer, and dials no third', async () => {
    const { ways, clock, log, stream } = await start();
    await clock.advance(TRY_BETTER_MS);
    const dial = ways.takeBetterDial();
    const answer = await dial.reach();
    ways.links[0]?.near.abort();
    await settled();
    expect(dial.signal.aborted).toBe(false);
    await answer();
    await expectEcho(stream, 'moved');
    expect(ways.links).toHaveLength(1);
    // Nobody has noticed anything.
    expect(log).toEqual(['connected']);
  });

  it('a session reports the loss of a link when the answer on the next one takes long', async () => {
    const { ways, clock, log, until, stream } = await start();
    await clock.advance(TRY_BETTER_MS);
    const answer = await ways.takeBetterDial().reach();
    ways.links[0]?.near.abort();
    await settled();
    await clock.advance(1_500);
    await answer();
    await until('resumed');
    await expectEcho(stream, 'resumed');
    expect(log).toEqual(['connected', 'lost', 'resumed']);
  });

  it('a session reports the loss of a link when no answer comes on the next one', async () => {
    const { ways, clock, log, until, stream } = await start();
    await clock.advance(TRY_BETTER_MS);
    const dial = ways.takeBetterDial();
    await dial.reach();
    ways.links[0]?.near.abort();
    await settled();
    expect(log).toEqual(['connected']);
    dial.fail('link-slow');
    await until('resumed');
    await expectEcho(stream, 'resumed');
    expect(log.slice(0, 2)).toEqual(['connected', 'lost']);
  });

  it('a session replaces its link when the network changes, and aborts an attempt by the preferred connector', async () => {
    const { ways, clock, client, log, stream } = await start();
    await clock.advance(TRY_BETTER_MS);
    const { signal } = ways.takeBetterDial();
    client.reconnectNow('network-changed');
    expect(signal.aborted).toBe(true);
    await settled();
    expect(ways.links.map(({ isLetGo }) => isLetGo)).toEqual([true, false]);
    await expectEcho(stream, 'by another');
    expect(log).toEqual(['connected']);
  });

  it('a session ends where the exit answers on a link by the preferred connector that it does not know it', async () => {
    const { ways, clock, log, until } = await start();
    ways.exit = ways.newExit();
    await clock.advance(TRY_BETTER_MS);
    await ways.takeBetterDial().work();
    await until('session lost: session-unknown');
    await settled();
    expect(log).toEqual(['connected', 'session lost: session-unknown', 'connected']);
  });

  it('a session whose streams end with their link does not try the preferred connector', async () => {
    const { ways, clock, stream } = await start({ resumeWindowMs: 0 });
    await clock.advance(10 * TRY_BETTER_MS);
    expect(ways.betterDials).toHaveLength(0);
    await expectEcho(stream, 'alone');
  });

  it('a session does not report the loss of a link after its end', async () => {
    const ways = new TwoWays();
    const { clock } = ways;
    const log: string[] = [];
    const options = {
      ...{ dialer: ways, resume: DEFAULT_RESUME_CONFIG, replayMemory: new RetransmitMemory(PROCESS_RETRANSMIT_BYTES) },
      ...{ backoff: new Backoff(), logger: silentLogger, clock, decide: () => ({ waitMs: 0 }) },
      limits: new LinkLimits(),
    };
    const keeper = new ReconnectingSession(options, {
      onEstablished: () => log.push('established'),
      onLinkLost: () => log.push('lost'),
      onResumed: () => log.push('resumed'),
      onStalled: () => log.push('stalled'),
      onFailed: () => log.push('failed'),
      onLimit: () => log.push('limit'),
      onRelays: () => log.push('relays'),
      onNoMoreStreams: () => log.push('no more streams'),
      onEnd: ({ fault }) => log.push(`end: ${fault}`),
    });
    keeper.start();
    await settled();
    await clock.advance(TRY_BETTER_MS);
    await ways.takeBetterDial().reach();
    ways.links[0]?.near.abort();
    await settled();
    keeper.end('session-closed');
    await settled();
    expect(log).toEqual(['established', 'end: session-closed']);
  });

  it('a client that closes aborts the attempt by the preferred connector', async () => {
    const { ways, clock, close } = await start();
    await clock.advance(TRY_BETTER_MS);
    const { signal } = ways.takeBetterDial();
    await close();
    expect(signal.aborted).toBe(true);
    await clock.advance(10 * TRY_BETTER_MS);
    expect(ways.betterDials).toHaveLength(0);
  });
});

describe('a session whose link by the fallback stalls', () => {
  it('a session whose link stalls aborts an attempt by the preferred connector that hangs, and uses any connector', async () => {
    const { ways, clock, log, stream } = await start({ tryBetterMs: 1 });
    await clock.advanceUntil(() => ways.betterDials.length === 1, 100);
    const { signal } = ways.takeBetterDial();
    ways.links[0]?.far.pause();
    const echoed = expectEcho(stream, 'what the exit does not read');
    await clock.advance(5_000);
    await echoed;
    expect(signal.aborted).toBe(true);
    expect(ways.links.map(({ isLetGo }) => isLetGo)).toEqual([true, false]);
    expect(log).toEqual(['connected']);
  });
});
