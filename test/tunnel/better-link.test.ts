/**
 * A session whose link came by a second choice: the better way is tried beside it, and takes over only when the exit
 * has answered.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createIdentity } from '../../src/crypto/keys.ts';
import { importKeyPair } from '../../src/crypto/x25519.ts';
import { type FaultName, WstunError } from '../../src/errors.ts';
import { DEFAULT_RESUME_CONFIG, PROCESS_RETRANSMIT_BYTES } from '../../src/mux/config.ts';
import { RetransmitMemory } from '../../src/mux/retransmit-store.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import type { SessionRequest } from '../../src/protocol/session-request.ts';
import type { MessageLink } from '../../src/transport/message-link.ts';
import { initiateSecureLink } from '../../src/tunnel/dial/handshake.ts';
import type { SecureLink } from '../../src/tunnel/dial/secure-link.ts';
import { beginOn, type SessionDialer, type SessionLink } from '../../src/tunnel/dial/session-dialer.ts';
import { Backoff } from '../../src/tunnel/reconnect/backoff.ts';
import { ExitSessions } from '../../src/tunnel/session/exit-sessions.ts';
import { ReconnectingSession } from '../../src/tunnel/session/reconnecting-session.ts';
import { type ClientOptions, TunnelClient } from '../../src/tunnel/session/tunnel-client.ts';
import type { Target, TunnelStream } from '../../src/tunnel/stream/stream.ts';
import { ECHO } from '../support/echoing.ts';
import { turns } from '../support/link-recorder.ts';
import { memoryLinkPair } from '../support/links/memory-link.ts';
import { atEnd } from '../support/scope.ts';

const target: Target = { kind: 'name', name: 'example.org', port: 80 };
const never = new AbortController().signal;
const TRY_BETTER_MS = 30_000;

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
    return () => beginOn(link, request, never).then(this.settle.resolve, this.settle.reject);
  }

  async work(): Promise<void> {
    await (await this.reach())();
  }
}

/** An exit in memory that echoes; each `dial` brings a link of a second choice. */
class TwoWays implements SessionDialer {
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
    });
  }

  async secured(): Promise<{ link: SecureLink; near: MessageLink; far: MessageLink }> {
    const [near, far] = memoryLinkPair();
    this.exit.serve(far, 'alice');
    const keys = importKeyPair(this.peer.exposeSessionKey());
    const exitKey = this.exitIdentity.public.session;
    const link = await initiateSecureLink(near, { keys, exitKey, suite: 'AESGCM', encryption: 'on' }, never);
    return { link, near, far };
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
    return { ...(await beginOn(link, request(), never)), better };
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
  const log: string[] = [];
  let onEntry: (() => void)[] = [];
  const note = (entry: string): void => {
    log.push(entry);
    const waiting = onEntry;
    onEntry = [];
    for (const look of waiting) look();
  };
  const until = async (entry: string): Promise<void> => {
    while (!log.includes(entry)) await new Promise<void>((resolve) => onEntry.push(resolve));
  };
  const observer = {
    onConnected: () => note('connected'),
    onLinkLost: () => note('lost'),
    onResumed: () => note('resumed'),
    onSessionLost: ({ fault }: WstunError) => note(`session lost: ${fault}`),
    onFailed: ({ fault }: WstunError) => note(`failed: ${fault}`),
  };
  const said: string[] = [];
  const say = (_fields: object, message: string): void => void said.push(message);
  const client = new TunnelClient(ways, observer, { ...silentLogger, info: say, warn: say, error: say }, options);
  const ended = client.run();
  atEnd(async () => {
    await client.close(0);
    await ended;
  });
  await until('connected');
  const stream = await client.open(target, never);
  return { ways, client, log, said, until, stream };
}

/** By the clock, without what timers would do meanwhile. */
function passTime(ms: number): void {
  const now = performance.now.bind(performance);
  const spy = vi.spyOn(performance, 'now').mockImplementation(() => now() + ms);
  atEnd(() => spy.mockRestore());
}

async function expectEcho(stream: TunnelStream, text: string): Promise<void> {
  const echoed = new Promise<string>((resolve) => stream.once('data', (bytes: Buffer) => resolve(bytes.toString())));
  stream.write(text);
  expect(await echoed).toBe(text);
}

/** More than the links in memory need to carry a handshake and a request. */
const settled = (): Promise<void> => turns(50);

describe('a link by a second choice', () => {
  // Those of links in memory are turns of the event loop, and real.
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('gives way after half a minute to one by the better way, and streams notice nothing', async () => {
    const { ways, log, stream } = await start();
    await vi.advanceTimersByTimeAsync(TRY_BETTER_MS - 1);
    expect(ways.betterDials).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(1);
    const answer = await ways.takeBetterDial().reach();
    await expectEcho(stream, 'by the second choice');
    expect(ways.links[0]?.isLetGo).toBe(false);
    await answer();
    await settled();
    expect(ways.links[0]?.isLetGo).toBe(true);
    await expectEcho(stream, 'by the better way');
    // There is no better one to that.
    await vi.advanceTimersByTimeAsync(10 * TRY_BETTER_MS);
    expect(ways.betterDials).toHaveLength(0);
    expect(ways.links).toHaveLength(1);
    expect(log).toEqual(['connected']);
  });

  it('is kept while the better way does not work, which is tried twice a minute and not spoken of', async () => {
    const { ways, log, said, stream } = await start();
    for (const fault of ['link-slow', 'relay-refused', 'link-lost'] as const) {
      await vi.advanceTimersByTimeAsync(TRY_BETTER_MS - 1);
      expect(ways.betterDials).toHaveLength(0);
      await vi.advanceTimersByTimeAsync(1);
      ways.takeBetterDial().fail(fault);
      await settled();
      await expectEcho(stream, fault);
    }
    expect(ways.links.map(({ isLetGo }) => isLetGo)).toEqual([false]);
    expect(log).toEqual(['connected']);
    expect(said).toEqual([]);
  });

  it('is kept where the exit does not answer on the better one', async () => {
    const { ways, log, stream } = await start();
    await vi.advanceTimersByTimeAsync(TRY_BETTER_MS);
    const dial = ways.takeBetterDial();
    await dial.reach();
    dial.fail('link-slow');
    await settled();
    await expectEcho(stream, 'still here');
    await vi.advanceTimersByTimeAsync(TRY_BETTER_MS);
    await ways.takeBetterDial().work();
    await expectEcho(stream, 'moved');
    expect(log).toEqual(['connected']);
  });

  it('that is lost is not waited for by a better way that hangs: any way will do', async () => {
    const { ways, log, until, stream } = await start();
    await vi.advanceTimersByTimeAsync(TRY_BETTER_MS);
    const { signal } = ways.takeBetterDial();
    ways.links[0]?.near.abort();
    await until('resumed');
    expect(signal.aborted).toBe(true);
    expect(ways.links).toHaveLength(2);
    await expectEcho(stream, 'resumed');
    expect(log).toEqual(['connected', 'lost', 'resumed']);
    // The half minute begins anew.
    await vi.advanceTimersByTimeAsync(TRY_BETTER_MS - 1);
    expect(ways.betterDials).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(ways.betterDials).toHaveLength(1);
  });

  it('that is lost when the exit has been asked already is not replaced by a third: the answer is on its way', async () => {
    const { ways, log, stream } = await start();
    await vi.advanceTimersByTimeAsync(TRY_BETTER_MS);
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

  it('that is lost when the exit has been asked already was lost where the answer takes long', async () => {
    const { ways, log, until, stream } = await start();
    await vi.advanceTimersByTimeAsync(TRY_BETTER_MS);
    const answer = await ways.takeBetterDial().reach();
    ways.links[0]?.near.abort();
    await settled();
    passTime(1_500);
    await answer();
    await until('resumed');
    await expectEcho(stream, 'resumed');
    expect(log).toEqual(['connected', 'lost', 'resumed']);
  });

  it('that is lost when the exit has been asked already was lost where no answer comes', async () => {
    const { ways, log, until, stream } = await start();
    await vi.advanceTimersByTimeAsync(TRY_BETTER_MS);
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

  it('is doubted when the network changes, and the attempt of the better way with it', async () => {
    const { ways, client, log, stream } = await start();
    await vi.advanceTimersByTimeAsync(TRY_BETTER_MS);
    const { signal } = ways.takeBetterDial();
    client.wake();
    expect(signal.aborted).toBe(true);
    await settled();
    expect(ways.links.map(({ isLetGo }) => isLetGo)).toEqual([true, false]);
    await expectEcho(stream, 'by another');
    expect(log).toEqual(['connected']);
  });

  it('is not believed where the exit, by the better way, knows nothing of the session', async () => {
    const { ways, log, until } = await start();
    ways.exit = ways.newExit();
    await vi.advanceTimersByTimeAsync(TRY_BETTER_MS);
    await ways.takeBetterDial().work();
    await until('session lost: session-unknown');
    await settled();
    expect(log).toEqual(['connected', 'session lost: session-unknown', 'connected']);
  });

  it('is left alone where streams end with their link', async () => {
    const { ways, stream } = await start({ resumeWindowMs: 0 });
    await vi.advanceTimersByTimeAsync(10 * TRY_BETTER_MS);
    expect(ways.betterDials).toHaveLength(0);
    await expectEcho(stream, 'alone');
  });

  it('that is lost when the exit has been asked already is not told of behind the end of the session', async () => {
    const ways = new TwoWays();
    const log: string[] = [];
    const options = {
      ...{ dialer: ways, resume: DEFAULT_RESUME_CONFIG, replayMemory: new RetransmitMemory(PROCESS_RETRANSMIT_BYTES) },
      ...{ backoff: new Backoff(), logger: silentLogger, judge: () => ({ waitMs: 0 }) },
    };
    const keeper = new ReconnectingSession(options, {
      onStanding: () => log.push('standing'),
      onLinkLost: () => log.push('lost'),
      onResumed: () => log.push('resumed'),
      onStalled: () => log.push('stalled'),
      onFailed: () => log.push('failed'),
      onNoMoreStreams: () => log.push('no more streams'),
      onEnd: ({ fault }) => log.push(`end: ${fault}`),
    });
    keeper.start();
    await settled();
    await vi.advanceTimersByTimeAsync(TRY_BETTER_MS);
    await ways.takeBetterDial().reach();
    ways.links[0]?.near.abort();
    await settled();
    keeper.end('session-closed');
    await settled();
    expect(log).toEqual(['standing', 'end: session-closed']);
  });

  it('takes the attempt of the better way with it when the client ends', async () => {
    const { ways, client } = await start();
    await vi.advanceTimersByTimeAsync(TRY_BETTER_MS);
    const { signal } = ways.takeBetterDial();
    await client.close(0);
    expect(signal.aborted).toBe(true);
    await vi.advanceTimersByTimeAsync(10 * TRY_BETTER_MS);
    expect(ways.betterDials).toHaveLength(0);
  });
});

describe('a link by a second choice that stalls', () => {
  it('is not waited for by a better way that hangs', async () => {
    const { ways, log, stream } = await start({ tryBetterMs: 1 });
    await vi.waitFor(() => expect(ways.betterDials).toHaveLength(1));
    const { signal } = ways.takeBetterDial();
    ways.links[0]?.far.pause();
    await expectEcho(stream, 'what the exit does not read');
    expect(signal.aborted).toBe(true);
    expect(ways.links.map(({ isLetGo }) => isLetGo)).toEqual([true, false]);
    expect(log).toEqual(['connected']);
  });
});
