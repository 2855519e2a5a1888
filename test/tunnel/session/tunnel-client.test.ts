import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createIdentity } from '../../../src/crypto/keys.ts';
import { importKeyPair } from '../../../src/crypto/x25519.ts';
import { WstunError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { SessionRequest } from '../../../src/protocol/session-request.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { initiateSecureLink } from '../../../src/tunnel/dial/handshake.ts';
import type { SessionDialer, SessionLink } from '../../../src/tunnel/dial/session-dialer.ts';
import { negotiateSession } from '../../../src/tunnel/dial/session-dialer.ts';
import { ExitSessions } from '../../../src/tunnel/session/exit-sessions.ts';
import { type ClientObserver, TunnelClient } from '../../../src/tunnel/session/tunnel-client.ts';
import type { OfferedStream, StreamAcceptor, Target } from '../../../src/tunnel/stream/stream.ts';
import { ECHO } from '../../support/echoing.ts';
import { hurryAttempts } from '../../support/hurried-attempts.ts';
import { memoryLinkPair } from '../../support/links/memory-link.ts';
import { exchange } from '../../support/payload.ts';
import { until } from '../../support/until.ts';

const target: Target = { kind: 'name', name: 'example.org', port: 80 };
const never = new AbortController().signal;

/** Echoes every stream; refuses port 1. */
const echo: StreamAcceptor = {
  handleOffer(offer: OfferedStream) {
    if (offer.target.port === 1) {
      offer.refuse('dial-refused');
      offer.release();
      return;
    }
    ECHO.handleOffer(offer);
  },
};

/** A relay in memory whose links can be cut, and that can refuse to be dialled. */
class MemoryRelay implements SessionDialer {
  readonly exitIdentity = createIdentity();
  readonly peer = createIdentity();
  /** Lines of the exit's log, but those for debugging. */
  readonly lines: { readonly message: string; readonly unsaid?: number }[] = [];
  exit = this.newExit();
  readonly faults: WstunError[] = [];
  dials = 0;
  /** When each of them began, ms. */
  readonly dialledAt: number[] = [];
  /** Every session ends as soon as it stands. */
  endAtOnce = false;
  delayMs = 0;
  link: MessageLink | undefined;

  newExit(): ExitSessions {
    return new ExitSessions({
      keys: importKeyPair(this.exitIdentity.exposeSessionKey()),
      peerOf: (key) => (Buffer.from(key).equals(this.peer.public.session) ? 'alice' : undefined),
      acceptor: echo,
      logger: { ...silentLogger, info: (fields, message) => void this.lines.push({ ...fields, message }) },
    });
  }

  async dial(request: () => SessionRequest): Promise<SessionLink> {
    this.dials += 1;
    this.dialledAt.push(performance.now());
    const fault = this.faults.shift();
    if (fault) throw fault;
    const [near, far] = memoryLinkPair();
    this.link = near;
    this.exit.serve(far, 'alice');
    const keys = importKeyPair(this.peer.exposeSessionKey());
    const exitKey = this.exitIdentity.public.session;
    if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
    const link = await initiateSecureLink(near, { keys, exitKey, suite: 'AESGCM', encryption: 'on' }, never);
    const session = await negotiateSession(link, request(), never);
    const { exit } = this;
    if (this.endAtOnce) {
      this.exit = this.newExit();
      setImmediate(() => exit.endAll('internal'));
    }
    return session;
  }
}

function observe(): ClientObserver & { readonly log: string[]; until(entry: string): Promise<void> } {
  const log: string[] = [];
  const note = (entry: string) => void log.push(entry);
  return {
    log,
    onConnected: ({ first }) => note(first ? 'connected' : 'connected again'),
    onLinkLost: ({ streams }) => note(`lost, ${streams} held`),
    onResumed: ({ streams }) => note(`resumed with ${streams}`),
    onSessionLost: ({ fault }, { streams }) => note(`session lost: ${fault}, ${streams} streams`),
    onFailed: (error) => note(`failed ${error.fault}`),
    until: (entry) => vi.waitFor(() => expect(log).toContain(entry), { timeout: 5000, interval: 5 }),
  };
}

function roundTrip(
  stream: { write(text: string): unknown; once(event: 'data', f: (b: Buffer) => void): unknown },
  text: string,
) {
  return new Promise<string>((resolve) => {
    stream.once('data', (bytes) => resolve(bytes.toString()));
    stream.write(text);
  });
}

// Waits between attempts are a hundredth of their span.
beforeEach(() => {
  vi.spyOn(Math, 'random').mockReturnValue(0.01);
  hurryAttempts(0.01);
});
afterEach(() => {
  vi.restoreAllMocks();
});

describe('tunnel client', () => {
  it('tells programs at once while the exit is absent, and asks again until it is back', async () => {
    const relay = new MemoryRelay();
    relay.faults.push(...Array.from({ length: 3 }, () => new WstunError('exit-absent')));
    const observer = observe();
    const client = new TunnelClient(relay, observer, silentLogger);
    const run = client.run();
    await expect(client.open(target, never)).rejects.toMatchObject({ fault: 'exit-absent' });
    await expect(client.open(target, never)).rejects.toMatchObject({ fault: 'exit-absent' });
    await observer.until('connected');
    expect(relay.dials).toBe(4);
    (await client.open(target, never)).destroy();
    await client.close(0);
    await run;
  });

  it('has an exit whose log says of a session that resumes all the time so 20 times a minute', async () => {
    const relay = new MemoryRelay();
    const observer = observe();
    const client = new TunnelClient(relay, observer, silentLogger);
    const run = client.run();
    await observer.until('connected');
    for (let i = 1; i <= 30; i++) {
      relay.link?.abort();
      await until(() => observer.log.filter((entry) => entry === 'resumed with 0').length === i);
    }
    // And one more each 3 s.
    const said = relay.lines.filter(({ message }) => message === 'session resumed').length;
    expect(said).toBeGreaterThanOrEqual(20);
    expect(said).toBeLessThan(30);
    await client.close(0);
    await run;
  });

  it('opens streams that echo, and says truthfully why one was not opened', async () => {
    const relay = new MemoryRelay();
    const client = new TunnelClient(relay, observe(), silentLogger);
    const run = client.run();
    const stream = await client.open(target, never);
    expect(await roundTrip(stream, 'hello')).toBe('hello');
    await expect(client.open({ ...target, port: 1 }, never)).rejects.toMatchObject({ fault: 'dial-refused' });
    stream.destroy();
    await client.close(0);
    await run;
    await vi.waitFor(() => expect(relay.exit.count).toBe(0));
  });

  it('takes up its streams on a new link when the old one is lost', async () => {
    const relay = new MemoryRelay();
    const seen = observe();
    const client = new TunnelClient(relay, seen, silentLogger);
    const run = client.run();
    const stream = await client.open(target, never);
    expect(await roundTrip(stream, 'before')).toBe('before');
    relay.link?.abort();
    expect(await roundTrip(stream, 'after')).toBe('after');
    expect(seen.log).toEqual(['connected', 'lost, 1 held', 'resumed with 1']);
    stream.destroy();
    await client.close(0);
    await run;
    await vi.waitFor(() => expect(relay.exit.count).toBe(0));
  });

  it('begins anew where the exit knows nothing of the session; its streams end with the reason, never cleanly', async () => {
    const relay = new MemoryRelay();
    const seen = observe();
    const client = new TunnelClient(relay, seen, silentLogger);
    const run = client.run();
    const stream = await client.open(target, never);
    let ended = false;
    stream.on('end', () => {
      ended = true;
    });
    const failed = new Promise<Error>((resolve) => stream.once('error', resolve));
    relay.exit = relay.newExit();
    relay.link?.abort();
    expect(await failed).toMatchObject({ fault: 'session-unknown' });
    await seen.until('connected again');
    expect(seen.log).toEqual([
      'connected',
      'lost, 1 held',
      'session lost: session-unknown, 1 streams',
      'connected again',
    ]);
    expect(ended).toBe(false);
    const next = await client.open(target, never);
    expect(await roundTrip(next, 'again')).toBe('again');
    await client.close(0);
    await run;
  });

  it('connects also where no session is to be kept without a link, and then its streams end with it', async () => {
    const relay = new MemoryRelay();
    relay.delayMs = 20;
    const seen = observe();
    const client = new TunnelClient(relay, seen, silentLogger, { resumeWindowMs: 0 });
    const run = client.run();
    const stream = await client.open(target, never);
    const failed = new Promise<Error>((resolve) => stream.once('error', resolve));
    relay.link?.abort();
    expect(await failed).toMatchObject({ fault: 'link-lost' });
    await seen.until('connected again');
    await client.close(0);
    await run;
  });

  it('believes an exit that does not know the session, though the old link seems to stand', async () => {
    const relay = new MemoryRelay();
    const seen = observe();
    const client = new TunnelClient(relay, seen, silentLogger);
    const run = client.run();
    await client.open(target, never);
    relay.exit = relay.newExit();
    client.reconnectNow('network-changed');
    await seen.until('connected again');
    expect(seen.log).toContain('session lost: session-unknown, 1 streams');
    await client.close(0);
    await run;
  });

  it('goes to a second link while the first one works, under load, and loses nothing', async () => {
    const relay = new MemoryRelay();
    relay.delayMs = 3;
    const client = new TunnelClient(relay, observe(), silentLogger);
    const run = client.run();
    const stream = await client.open(target, never);
    const exchanged = exchange(stream, 8 * 1024 * 1024, 5);
    const waking = setInterval(() => client.reconnectNow('network-changed'), 5);
    const { sent, received } = await exchanged;
    clearInterval(waking);
    expect(received).toEqual({ bytes: 8 * 1024 * 1024, hash: sent });
    expect(relay.dials).toBeGreaterThan(3);
    await client.close(0);
    await run;
  });

  it('waits longer and longer for an exit that ends every session at once', async () => {
    vi.restoreAllMocks();
    vi.spyOn(Math, 'random').mockReturnValue(1);
    const relay = new MemoryRelay();
    const client = new TunnelClient(relay, observe(), silentLogger);
    relay.endAtOnce = true;
    const run = client.run();
    const longestGap = () => Math.max(...relay.dialledAt.map((at, i, all) => at - (all[i - 1] ?? at)));
    // The forgiven ones come at once; a wait of its whole span, a second, then shows within a few more.
    await until(() => longestGap() >= 900);
    expect(relay.dials).toBeGreaterThan(3);
    expect(relay.dials).toBeLessThan(8);
    await client.close(0);
    await run;
  });

  it('keeps trying a relay that cannot be reached, and opens what waited meanwhile', async () => {
    const relay = new MemoryRelay();
    relay.faults.push(new WstunError('relay-unreachable'));
    const seen = observe();
    const client = new TunnelClient(relay, seen, silentLogger);
    const run = client.run();
    const stream = await client.open(target, never);
    expect(seen.log).toEqual(['failed relay-unreachable', 'connected']);
    stream.destroy();
    await client.close(0);
    await run;
  });

  it('tries at once when there is a new way, however long the next attempt was to be waited for', async () => {
    const relay = new MemoryRelay();
    for (let i = 0; i < 8; i++) relay.faults.push(new WstunError('relay-unreachable'));
    const observer = observe();
    const client = new TunnelClient(relay, observer, silentLogger);
    const ended = client.run();
    await until(() => relay.dials >= 3);
    // From here on each wait is as long as ever, 3.5 s or more.
    vi.restoreAllMocks();
    const { dials } = relay;
    await until(() => relay.dials > dials);
    relay.faults.length = 0;
    const since = performance.now();
    client.reconnectNow('new-connector');
    await observer.until('connected');
    expect(performance.now() - since).toBeLessThan(2_000);
    await client.close(0);
    await ended;
  });

  it.each(['relay-refused', 'relay-odd-answer', 'handshake-failed', 'too-many-sessions'] as const)(
    'tries on after %s, however often it comes, at the first start as well',
    async (fault) => {
      hurryAttempts(0);
      const relay = new MemoryRelay();
      for (let i = 0; i < 20; i++) relay.faults.push(new WstunError(fault));
      const seen = observe();
      const client = new TunnelClient(relay, seen, silentLogger);
      const run = client.run();
      await seen.until('connected');
      expect(seen.log).toEqual([...Array.from({ length: 20 }, () => `failed ${fault}`), 'connected']);
      for (let i = 0; i < 20; i++) relay.faults.push(new WstunError(fault));
      const stream = await client.open(target, never);
      relay.link?.abort();
      expect(await roundTrip(stream, 'held')).toBe('held');
      await client.close(0);
      await run;
    },
  );

  it.each(['keys-rotated', 'bad-version'] as const)(
    'ends with %s at once, which is proved, and tells those who wait',
    async (fault) => {
      const relay = new MemoryRelay();
      relay.faults.push(new WstunError(fault));
      const client = new TunnelClient(relay, observe(), silentLogger);
      const waiting = client.open(target, never);
      const run = client.run();
      await expect(waiting).rejects.toMatchObject({ fault: 'not-connected' });
      await expect(run).rejects.toMatchObject({ fault });
      expect(relay.dials).toBe(1);
    },
  );

  it('ends with its first failure where it was to try once, and after a session has stood with the first that lasts', async () => {
    const refused = new MemoryRelay();
    refused.faults.push(new WstunError('relay-refused'));
    const first = new TunnelClient(refused, observe(), silentLogger, { once: true });
    await expect(first.run()).rejects.toMatchObject({ fault: 'relay-refused', exitCode: 77 });

    const relay = new MemoryRelay();
    const seen = observe();
    const client = new TunnelClient(relay, seen, silentLogger, { once: true });
    const run = client.run();
    await seen.until('connected');
    relay.faults.push(new WstunError('relay-refused'));
    relay.link?.abort();
    await seen.until('resumed with 0');
    await client.close(0);
    await run;
  });

  it('loses its session where its name was taken off the list, and comes back where that was for a moment', async () => {
    const relay = new MemoryRelay();
    const seen = observe();
    const client = new TunnelClient(relay, seen, silentLogger);
    const run = client.run();
    const stream = await client.open(target, never);
    const failed = new Promise<Error>((resolve) => stream.once('error', resolve));
    for (let i = 0; i < 3; i++) relay.faults.push(new WstunError('relay-refused'));
    relay.exit.keepOnly(new Set(['bob']));
    expect(await failed).toMatchObject({ fault: 'access-removed' });
    await seen.until('connected again');
    expect(seen.log).toContain('session lost: access-removed, 1 streams');
    await client.close(0);
    await run;
  });

  it('ends with access-removed when nothing but refusals came for as long as the proof has to stand', async () => {
    const relay = new MemoryRelay();
    const client = new TunnelClient(relay, observe(), silentLogger, { removalFinalMs: 300 });
    const run = client.run();
    await client.open(target, never);
    for (let i = 0; i < 1000; i++) relay.faults.push(new WstunError('relay-refused'));
    const since = performance.now();
    relay.exit.keepOnly(new Set(['bob']));
    await expect(run).rejects.toMatchObject({ fault: 'access-removed', exitCode: 77 });
    expect(performance.now() - since).toBeGreaterThan(290);
    expect(relay.dials).toBeGreaterThan(2);
  });

  it.each(['session-unknown', 'session-gap', 'session-expired', 'session-closed', 'bad-record'] as const)(
    'waits longer and longer for an exit that answers each request to begin with %s',
    async (fault) => {
      vi.restoreAllMocks();
      vi.spyOn(Math, 'random').mockReturnValue(0);
      const relay = new MemoryRelay();
      for (let i = 0; i < 5000; i++) relay.faults.push(new WstunError(fault));
      const seen = observe();
      const client = new TunnelClient(relay, seen, silentLogger);
      const run = client.run();
      // Waits of 0.5, 1.5 and 3.5 s.
      await until(() => relay.dials === 3, 10_000);
      const [first = 0, second = 0, third = 0] = relay.dialledAt;
      expect(second - first).toBeGreaterThan(450);
      expect(third - second).toBeGreaterThan(1_400);
      expect(seen.log).toEqual([`failed ${fault}`, `failed ${fault}`, `failed ${fault}`]);
      await client.close(0);
      await run;
    },
  );

  it('waits longer and longer for an exit that takes each session up, and then knows nothing of it', async () => {
    vi.restoreAllMocks();
    vi.spyOn(Math, 'random').mockReturnValue(0);
    const relay = new MemoryRelay();
    const seen = observe();
    const client = new TunnelClient(relay, seen, silentLogger);
    const run = client.run();
    const forgetful = setInterval(() => {
      relay.exit = relay.newExit();
      relay.link?.abort();
    }, 5);
    await until(() => relay.dialledAt.some((at, i, all) => at - (all[i - 1] ?? at) > 1_400), 20_000);
    expect(relay.dials).toBeLessThan(20);
    clearInterval(forgetful);
    await client.close(0);
    await run;
  });

  it('says of a clean restart how long no stream could be opened, and how many were cut', async () => {
    const relay = new MemoryRelay();
    const connected: object[] = [];
    const draining: object[] = [];
    const observer = { ...observe(), onConnected: (info: object) => connected.push(info) };
    const client = new TunnelClient(relay, { ...observer, onDraining: (info) => draining.push(info) }, silentLogger);
    const run = client.run();
    const stream = await client.open(target, never);
    const failed = new Promise<Error>((resolve) => stream.once('error', resolve));
    for (let i = 0; i < 1000; i++) relay.faults.push(new WstunError('relay-unreachable'));
    const closed = relay.exit.close(300);
    await closed;
    await failed;
    relay.exit = relay.newExit();
    relay.faults.length = 0;
    await until(() => connected.length === 2);
    expect(draining).toEqual([{ streams: 1 }]);
    expect(connected[1]).toMatchObject({ first: false, streamsLost: 1 });
    expect((connected[1] as { awayMs: number }).awayMs).toBeGreaterThan(290);
    await client.close(0);
    await run;
  });

  it('tells who waits at once when it is to end, and opens no more streams', async () => {
    const relay = new MemoryRelay();
    relay.faults.push(...Array.from({ length: 100 }, () => new WstunError('relay-unreachable')));
    hurryAttempts(1);
    const client = new TunnelClient(relay, observe(), silentLogger);
    const run = client.run();
    const waiting = client.open(target, never);
    client.drain();
    await expect(waiting).rejects.toMatchObject({ fault: 'not-connected' });
    await expect(client.open(target, never)).rejects.toMatchObject({ fault: 'not-connected' });
    await client.close(0);
    await run;
  });

  it('asks for an absent exit at once when a program wants a stream, but no more than once a second', async () => {
    vi.restoreAllMocks();
    const relay = new MemoryRelay();
    relay.faults.push(...Array.from({ length: 10_000 }, () => new WstunError('exit-absent')));
    const client = new TunnelClient(relay, observe(), silentLogger);
    const run = client.run();
    const since = performance.now();
    let refused = 0;
    // The waits between the attempts themselves are 1, 2 and 4 s, a half of it.
    while (performance.now() - since < 2_500) {
      await expect(client.open(target, never)).rejects.toMatchObject({ fault: 'exit-absent' });
      refused += 1;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(refused).toBeGreaterThan(20);
    expect(relay.dials).toBeLessThanOrEqual(7);
    relay.faults.length = 0;
    await vi.waitFor(() => client.open(target, never), { timeout: 5_000 });
    await client.close(0);
    await run;
  });

  it('lets streams of a draining exit end in peace, and fetches a new session for the next', async () => {
    const relay = new MemoryRelay();
    const client = new TunnelClient(relay, observe(), silentLogger);
    const run = client.run();
    const old = await client.open(target, never);
    const drained = relay.exit.close(5000);
    relay.exit = relay.newExit();
    const next = await client.open(target, never).catch(() => client.open(target, never));
    expect(await roundTrip(next, 'new')).toBe('new');
    expect(await roundTrip(old, 'old')).toBe('old');
    old.end();
    old.resume();
    await new Promise((resolve) => old.once('close', resolve));
    next.destroy();
    await client.close(0);
    await Promise.all([run, drained]);
  });

  it('stops waiting for a session when the program has gone', async () => {
    const relay = new MemoryRelay();
    const client = new TunnelClient(relay, observe(), silentLogger);
    const gone = new AbortController();
    const waiting = client.open(target, gone.signal);
    gone.abort();
    await expect(waiting).rejects.toMatchObject({ fault: 'dial-cancelled' });
    await client.close(0);
  });
});
