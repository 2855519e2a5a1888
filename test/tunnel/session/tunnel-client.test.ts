import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { WstunError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { type ClientObserver, TunnelClient } from '../../../src/tunnel/session/tunnel-client.ts';
import type { Target } from '../../../src/tunnel/stream/stream.ts';
import { MemoryRelay } from '../../support/links/memory-relay.ts';
import { never } from '../../support/never.ts';
import { exchange } from '../../support/payload.ts';
import { hurryAttempts } from '../../support/proxy/hurried-attempts.ts';
import type { VirtualClock } from '../../support/time/virtual-clock.ts';

const target: Target = { kind: 'name', name: 'example.org', port: 80 };

function observe({ clock }: MemoryRelay): ClientObserver & {
  readonly log: string[];
  until(entry: string): Promise<void>;
} {
  const log: string[] = [];
  const note = (entry: string) => void log.push(entry);
  return {
    log,
    onConnected: ({ first }) => note(first ? 'connected' : 'connected again'),
    onLinkLost: ({ streams }) => note(`lost, ${streams} held`),
    onResumed: ({ streams }) => note(`resumed with ${streams}`),
    onSessionLost: ({ fault }, { streams }) => note(`session lost: ${fault}, ${streams} streams`),
    onFailed: (error) => note(`failed ${error.fault}`),
    until: (entry) => clock.advanceUntil(() => log.includes(entry), 600_000),
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

/** Until the returned function is called. */
function every(clock: VirtualClock, ms: number, act: () => void): () => void {
  let timer = clock.setTimeout(fire, ms);
  function fire(): void {
    act();
    timer = clock.setTimeout(fire, ms);
  }
  return () => clock.clearTimeout(timer);
}

describe('TunnelClient', () => {
  it('TunnelClient tells programs at once while the exit is absent, and dials again until it is back', async () => {
    const relay = new MemoryRelay();
    relay.faults.push(...Array.from({ length: 3 }, () => new WstunError('exit-absent')));
    const observer = observe(relay);
    const client = new TunnelClient(relay, observer, silentLogger, { clock: relay.clock });
    const run = client.run();
    await expect(relay.clock.run(client.open(target, never))).rejects.toMatchObject({ fault: 'exit-absent' });
    await expect(relay.clock.run(client.open(target, never))).rejects.toMatchObject({ fault: 'exit-absent' });
    await observer.until('connected');
    expect(relay.dials).toBe(4);
    (await relay.clock.run(client.open(target, never))).destroy();
    await relay.clock.run(client.close(0));
    await relay.clock.run(run);
  });

  it('an exit logs the resumptions of one session 20 times a minute at most', async () => {
    const relay = new MemoryRelay();
    hurryAttempts(0);
    onTestFinished(() => void vi.restoreAllMocks());
    const observer = observe(relay);
    const client = new TunnelClient(relay, observer, silentLogger, { clock: relay.clock });
    const run = client.run();
    await observer.until('connected');
    for (let i = 1; i <= 30; i++) {
      relay.link?.abort();
      await relay.clock.advanceUntil(
        () => observer.log.filter((entry) => entry === 'resumed with 0').length === i,
        60_000,
      );
    }
    // And one more each 3 s.
    const said = relay.lines.filter(({ message }) => message === 'session resumed').length;
    expect(said).toBeGreaterThanOrEqual(20);
    expect(said).toBeLessThan(30);
    await relay.clock.run(client.close(0));
    await relay.clock.run(run);
  });

  it('TunnelClient opens streams, and rejects with the exit’s reason where it refuses one', async () => {
    const relay = new MemoryRelay();
    const client = new TunnelClient(relay, observe(relay), silentLogger, { clock: relay.clock });
    const run = client.run();
    const stream = await relay.clock.run(client.open(target, never));
    expect(await relay.clock.run(roundTrip(stream, 'hello'))).toBe('hello');
    await expect(relay.clock.run(client.open({ ...target, port: 1 }, never))).rejects.toMatchObject({
      fault: 'dial-refused',
    });
    stream.destroy();
    await relay.clock.run(client.close(0));
    await relay.clock.run(run);
    await relay.clock.advanceUntil(() => relay.exit.count === 0, 60_000);
  });

  it('TunnelClient resumes its streams on a new link when the old one is lost', async () => {
    const relay = new MemoryRelay();
    const seen = observe(relay);
    const client = new TunnelClient(relay, seen, silentLogger, { clock: relay.clock });
    const run = client.run();
    const stream = await relay.clock.run(client.open(target, never));
    expect(await relay.clock.run(roundTrip(stream, 'before'))).toBe('before');
    relay.link?.abort();
    expect(await relay.clock.run(roundTrip(stream, 'after'))).toBe('after');
    expect(seen.log).toEqual(['connected', 'lost, 1 held', 'resumed with 1']);
    stream.destroy();
    await relay.clock.run(client.close(0));
    await relay.clock.run(run);
    await relay.clock.advanceUntil(() => relay.exit.count === 0, 60_000);
  });

  it('TunnelClient goes on by its other links where one is lost, and resumes where all are lost at once', async () => {
    const relay = new MemoryRelay();
    relay.delayMs = 20;
    const seen = observe(relay);
    const client = new TunnelClient(relay, seen, silentLogger, { links: 3, clock: relay.clock });
    const run = client.run();
    const stream = await relay.clock.run(client.open(target, never));
    for (let round = 1; round < 20; round++) {
      // Long enough for three links.
      await relay.clock.advance(5_000);
      const carrying = [...relay.links];
      carrying.at(-1 - (round % 3))?.abort();
      expect(await relay.clock.run(roundTrip(stream, 'one less'))).toBe('one less');
      // The attempt to replace it has begun.
      await relay.clock.advance(round);
      for (const link of carrying) link.abort();
      expect(await relay.clock.run(roundTrip(stream, 'again'))).toBe('again');
      const expected = Array.from({ length: round }, () => ['lost, 1 held', 'resumed with 1']);
      expect(seen.log).toEqual(['connected', ...expected.flat()]);
    }
    await relay.clock.run(client.close(0));
    await relay.clock.run(run);
  });

  it('TunnelClient begins a new session where the exit does not know the old one, whose streams fail with that reason', async () => {
    const relay = new MemoryRelay();
    const seen = observe(relay);
    const client = new TunnelClient(relay, seen, silentLogger, { clock: relay.clock });
    const run = client.run();
    const stream = await relay.clock.run(client.open(target, never));
    let ended = false;
    stream.on('end', () => {
      ended = true;
    });
    const failed = new Promise<Error>((resolve) => stream.once('error', resolve));
    relay.exit = relay.newExit();
    relay.link?.abort();
    expect(await relay.clock.run(failed)).toMatchObject({ fault: 'session-unknown' });
    await seen.until('connected again');
    expect(seen.log).toEqual([
      'connected',
      'lost, 1 held',
      'session lost: session-unknown, 1 streams',
      'connected again',
    ]);
    expect(ended).toBe(false);
    const next = await relay.clock.run(client.open(target, never));
    expect(await relay.clock.run(roundTrip(next, 'again'))).toBe('again');
    await relay.clock.run(client.close(0));
    await relay.clock.run(run);
  });

  it('TunnelClient with a resume window of 0 connects, and its streams end with their link', async () => {
    const relay = new MemoryRelay();
    relay.delayMs = 20;
    const seen = observe(relay);
    const client = new TunnelClient(relay, seen, silentLogger, { resumeWindowMs: 0, clock: relay.clock });
    const run = client.run();
    const stream = await relay.clock.run(client.open(target, never));
    const failed = new Promise<Error>((resolve) => stream.once('error', resolve));
    relay.link?.abort();
    expect(await relay.clock.run(failed)).toMatchObject({ fault: 'link-lost' });
    await seen.until('connected again');
    await relay.clock.run(client.close(0));
    await relay.clock.run(run);
  });

  it('TunnelClient begins a new session where the exit does not know the old one, although its link seems to work', async () => {
    const relay = new MemoryRelay();
    const seen = observe(relay);
    const client = new TunnelClient(relay, seen, silentLogger, { clock: relay.clock });
    const run = client.run();
    await relay.clock.run(client.open(target, never));
    relay.exit = relay.newExit();
    client.reconnectNow('network-changed');
    await seen.until('connected again');
    expect(seen.log).toContain('session lost: session-unknown, 1 streams');
    await relay.clock.run(client.close(0));
    await relay.clock.run(run);
  });

  it('TunnelClient moves to another link again and again under load, and loses no byte', async () => {
    const relay = new MemoryRelay();
    relay.delayMs = 3;
    const client = new TunnelClient(relay, observe(relay), silentLogger, { clock: relay.clock });
    const run = client.run();
    const stream = await relay.clock.run(client.open(target, never));
    const exchanged = exchange(stream, 8 * 1024 * 1024, 5);
    const stopWaking = every(relay.clock, 5, () => client.reconnectNow('network-changed'));
    const { sent, received } = await relay.clock.run(exchanged, 3_600_000);
    stopWaking();
    expect(received).toEqual({ bytes: 8 * 1024 * 1024, hash: sent });
    expect(relay.dials).toBeGreaterThan(3);
    await relay.clock.run(client.close(0));
    await relay.clock.run(run);
  });

  it('TunnelClient waits longer after each session that the exit ends at once', async () => {
    const relay = new MemoryRelay();
    relay.clock.random = () => 1;
    const client = new TunnelClient(relay, observe(relay), silentLogger, { clock: relay.clock });
    relay.endAtOnce = true;
    const run = client.run();
    const longestGap = () => Math.max(...relay.dialledAt.map((at, i, all) => at - (all[i - 1] ?? at)));
    // The forgiven ones come at once; a wait of its whole span, a second, then shows within a few more.
    await relay.clock.advanceUntil(() => longestGap() >= 900, 60_000);
    expect(relay.dials).toBeGreaterThan(3);
    expect(relay.dials).toBeLessThan(8);
    await relay.clock.run(client.close(0));
    await relay.clock.run(run);
  });

  it('TunnelClient keeps dialling a relay that cannot be reached, and then opens the stream that waited', async () => {
    const relay = new MemoryRelay();
    relay.faults.push(new WstunError('relay-unreachable'));
    const seen = observe(relay);
    const client = new TunnelClient(relay, seen, silentLogger, { clock: relay.clock });
    const run = client.run();
    const stream = await relay.clock.run(client.open(target, never));
    expect(seen.log).toEqual(['failed relay-unreachable', 'connected']);
    stream.destroy();
    await relay.clock.run(client.close(0));
    await relay.clock.run(run);
  });

  it('TunnelClient dials at once when there is a new connector, however long the wait was to be', async () => {
    const relay = new MemoryRelay();
    for (let i = 0; i < 8; i++) relay.faults.push(new WstunError('relay-unreachable'));
    const observer = observe(relay);
    const client = new TunnelClient(relay, observer, silentLogger, { clock: relay.clock });
    const ended = client.run();
    await relay.clock.advanceUntil(() => relay.dials >= 3, 60_000);
    // From here on each wait is as long as ever, 3.5 s or more.
    const { dials } = relay;
    await relay.clock.advanceUntil(() => relay.dials > dials, 60_000);
    relay.faults.length = 0;
    const since = relay.clock.now();
    client.reconnectNow('new-connector');
    await observer.until('connected');
    expect(relay.clock.now() - since).toBeLessThan(2_000);
    await relay.clock.run(client.close(0));
    await relay.clock.run(ended);
  });

  it.each(['relay-refused', 'relay-odd-answer', 'handshake-failed', 'too-many-sessions'] as const)(
    'TunnelClient tries again after %s, however often, and also at the first start',
    async (fault) => {
      const relay = new MemoryRelay();
      hurryAttempts(0);
      onTestFinished(() => void vi.restoreAllMocks());
      for (let i = 0; i < 20; i++) relay.faults.push(new WstunError(fault));
      const seen = observe(relay);
      const client = new TunnelClient(relay, seen, silentLogger, { clock: relay.clock });
      const run = client.run();
      await seen.until('connected');
      expect(seen.log).toEqual([...Array.from({ length: 20 }, () => `failed ${fault}`), 'connected']);
      for (let i = 0; i < 20; i++) relay.faults.push(new WstunError(fault));
      const stream = await relay.clock.run(client.open(target, never));
      relay.link?.abort();
      expect(await relay.clock.run(roundTrip(stream, 'held'))).toBe('held');
      await relay.clock.run(client.close(0));
      await relay.clock.run(run);
    },
  );

  it.each(['keys-rotated', 'bad-version'] as const)(
    'TunnelClient ends at the first %s, and rejects streams that wait',
    async (fault) => {
      const relay = new MemoryRelay();
      relay.faults.push(new WstunError(fault));
      const client = new TunnelClient(relay, observe(relay), silentLogger, { clock: relay.clock });
      const waiting = client.open(target, never);
      const run = client.run();
      const ended = expect(run).rejects.toMatchObject({ fault });
      await expect(relay.clock.run(waiting)).rejects.toMatchObject({ fault: 'not-connected' });
      await ended;
      expect(relay.dials).toBe(1);
    },
  );

  it('TunnelClient with `once` ends at the first failure, but not at a short one after a session was established', async () => {
    const refused = new MemoryRelay();
    refused.faults.push(new WstunError('relay-refused'));
    const first = new TunnelClient(refused, observe(refused), silentLogger, { once: true, clock: refused.clock });
    await expect(refused.clock.run(first.run())).rejects.toMatchObject({ fault: 'relay-refused', exitCode: 77 });

    const relay = new MemoryRelay();
    const seen = observe(relay);
    const client = new TunnelClient(relay, seen, silentLogger, { once: true, clock: relay.clock });
    const run = client.run();
    await seen.until('connected');
    relay.faults.push(new WstunError('relay-refused'));
    relay.link?.abort();
    await seen.until('resumed with 0');
    await relay.clock.run(client.close(0));
    await relay.clock.run(run);
  });

  it('TunnelClient loses its session when its access is removed, and reconnects when it is restored soon', async () => {
    const relay = new MemoryRelay();
    const seen = observe(relay);
    const client = new TunnelClient(relay, seen, silentLogger, { clock: relay.clock });
    const run = client.run();
    const stream = await relay.clock.run(client.open(target, never));
    const failed = new Promise<Error>((resolve) => stream.once('error', resolve));
    for (let i = 0; i < 3; i++) relay.faults.push(new WstunError('relay-refused'));
    relay.exit.keepOnly(new Set(['bob']));
    expect(await relay.clock.run(failed)).toMatchObject({ fault: 'access-removed' });
    await seen.until('connected again');
    expect(seen.log).toContain('session lost: access-removed, 1 streams');
    await relay.clock.run(client.close(0));
    await relay.clock.run(run);
  });

  it('TunnelClient ends with access-removed after nothing but refusals for the whole time after the proof', async () => {
    const relay = new MemoryRelay();
    const client = new TunnelClient(relay, observe(relay), silentLogger, { removalFinalMs: 3_000, clock: relay.clock });
    const run = client.run();
    await relay.clock.run(client.open(target, never));
    for (let i = 0; i < 1000; i++) relay.faults.push(new WstunError('relay-refused'));
    const since = relay.clock.now();
    relay.exit.keepOnly(new Set(['bob']));
    await expect(relay.clock.run(run)).rejects.toMatchObject({ fault: 'access-removed', exitCode: 77 });
    expect(relay.clock.now() - since).toBeGreaterThan(2_990);
    expect(relay.dials).toBeGreaterThan(2);
  });

  it.each(['session-unknown', 'session-gap', 'session-expired', 'session-closed', 'bad-record'] as const)(
    'TunnelClient waits longer after each answer %s to its request to begin a session',
    async (fault) => {
      const relay = new MemoryRelay();
      relay.clock.random = () => 0;
      for (let i = 0; i < 5000; i++) relay.faults.push(new WstunError(fault));
      const seen = observe(relay);
      const client = new TunnelClient(relay, seen, silentLogger, { clock: relay.clock });
      const run = client.run();
      // Waits of 0.5, 1.5 and 3.5 s.
      await relay.clock.advanceUntil(() => relay.dials === 3, 60_000);
      const [first = 0, second = 0, third = 0] = relay.dialledAt;
      expect(second - first).toBeGreaterThan(450);
      expect(third - second).toBeGreaterThan(1_400);
      expect(seen.log).toEqual([`failed ${fault}`, `failed ${fault}`, `failed ${fault}`]);
      await relay.clock.run(client.close(0));
      await relay.clock.run(run);
    },
  );

  it('TunnelClient waits longer after each session that the exit accepts and then does not know', async () => {
    const relay = new MemoryRelay();
    relay.clock.random = () => 0;
    const seen = observe(relay);
    const client = new TunnelClient(relay, seen, silentLogger, { clock: relay.clock });
    const run = client.run();
    const remember = every(relay.clock, 5, () => {
      relay.exit = relay.newExit();
      relay.link?.abort();
    });
    await relay.clock.advanceUntil(() => relay.dialledAt.some((at, i, all) => at - (all[i - 1] ?? at) > 1_400), 60_000);
    expect(relay.dials).toBeLessThan(20);
    remember();
    await relay.clock.run(client.close(0));
    await relay.clock.run(run);
  });

  it('TunnelClient reports after a clean restart of the exit how long it was away and how many streams were lost', async () => {
    const relay = new MemoryRelay();
    const connected: object[] = [];
    const draining: object[] = [];
    const observer = { ...observe(relay), onConnected: (info: object) => connected.push(info) };
    const client = new TunnelClient(relay, { ...observer, onDraining: (info) => draining.push(info) }, silentLogger, {
      clock: relay.clock,
    });
    const run = client.run();
    const stream = await relay.clock.run(client.open(target, never));
    const failed = new Promise<Error>((resolve) => stream.once('error', resolve));
    for (let i = 0; i < 1000; i++) relay.faults.push(new WstunError('relay-unreachable'));
    const closed = relay.exit.close(300);
    await relay.clock.run(closed);
    await relay.clock.run(failed);
    relay.exit = relay.newExit();
    relay.faults.length = 0;
    await relay.clock.advanceUntil(() => connected.length === 2, 60_000);
    expect(draining).toEqual([{ streams: 1 }]);
    expect(connected[1]).toMatchObject({ first: false, streamsLost: 1 });
    expect((connected[1] as { awayMs: number }).awayMs).toBeGreaterThan(290);
    await relay.clock.run(client.close(0));
    await relay.clock.run(run);
  });

  it('TunnelClient that drains rejects streams that wait, and opens no more', async () => {
    const relay = new MemoryRelay();
    relay.faults.push(...Array.from({ length: 100 }, () => new WstunError('relay-unreachable')));
    const client = new TunnelClient(relay, observe(relay), silentLogger, { clock: relay.clock });
    const run = client.run();
    const waiting = client.open(target, never);
    client.drain();
    await expect(relay.clock.run(waiting)).rejects.toMatchObject({ fault: 'not-connected' });
    await expect(relay.clock.run(client.open(target, never))).rejects.toMatchObject({ fault: 'not-connected' });
    await relay.clock.run(client.close(0));
    await relay.clock.run(run);
  });

  it('TunnelClient dials an absent exit when a program wants a stream, but at most once a second', async () => {
    const relay = new MemoryRelay();
    relay.faults.push(...Array.from({ length: 10_000 }, () => new WstunError('exit-absent')));
    const seen = observe(relay);
    const client = new TunnelClient(relay, seen, silentLogger, { clock: relay.clock });
    const run = client.run();
    const since = relay.clock.now();
    let refused = 0;
    // The waits between the attempts themselves are 1, 2 and 4 s, a half of it.
    while (relay.clock.now() - since < 2_500) {
      await expect(relay.clock.run(client.open(target, never))).rejects.toMatchObject({ fault: 'exit-absent' });
      refused += 1;
      await relay.clock.advance(5);
    }
    expect(refused).toBeGreaterThan(20);
    expect(relay.dials).toBeLessThanOrEqual(7);
    relay.faults.length = 0;
    await seen.until('connected');
    await relay.clock.run(client.open(target, never));
    await relay.clock.run(client.close(0));
    await relay.clock.run(run);
  });

  it('TunnelClient lets streams of a draining exit finish, and opens the next one on a new session', async () => {
    const relay = new MemoryRelay();
    const client = new TunnelClient(relay, observe(relay), silentLogger, { clock: relay.clock });
    const run = client.run();
    const old = await relay.clock.run(client.open(target, never));
    const drained = relay.exit.close(5000);
    relay.exit = relay.newExit();
    const next = await relay.clock.run(client.open(target, never)).catch(() => client.open(target, never));
    expect(await relay.clock.run(roundTrip(next, 'new'))).toBe('new');
    expect(await relay.clock.run(roundTrip(old, 'old'))).toBe('old');
    old.end();
    old.resume();
    await relay.clock.run(new Promise((resolve) => old.once('close', resolve)));
    next.destroy();
    await relay.clock.run(client.close(0));
    await relay.clock.run(Promise.all([run, drained]));
  });

  it('TunnelClient keeps its pauses while ports at the exit are asked for, and shortens them for a program', async () => {
    const dialsWhile = async (ask: (client: TunnelClient) => void): Promise<number> => {
      const relay = new MemoryRelay();
      relay.faults.push(...Array.from({ length: 500 }, () => new WstunError('relay-unreachable')));
      const client = new TunnelClient(relay, {}, silentLogger, { clock: relay.clock });
      const run = client.run();
      const stop = every(relay.clock, 1_000, () => ask(client));
      await relay.clock.advance(300_000);
      stop();
      await relay.clock.run(client.close(0));
      await relay.clock.run(run);
      return relay.dials;
    };
    const ended = { handleEnd: () => {}, handleConnection: () => {}, handleDatagram: () => {} };
    const alone = await dialsWhile(() => {});
    const withPorts = await dialsWhile((client) => {
      client.listenTcp(target, ended, never).catch(() => {});
      expect(() => client.listenUdp(target, ended)).toThrow('WSTUN-E209');
    });
    const withProgram = await dialsWhile((client) => void client.open(target, never).catch(() => {}));
    expect(withPorts).toBe(alone);
    expect(withProgram).toBeGreaterThan(3 * alone);
  });

  it('TunnelClient stops waiting for a session when the program has gone', async () => {
    const relay = new MemoryRelay();
    const client = new TunnelClient(relay, observe(relay), silentLogger, { clock: relay.clock });
    const gone = new AbortController();
    const waiting = client.open(target, gone.signal);
    gone.abort();
    await expect(relay.clock.run(waiting)).rejects.toMatchObject({ fault: 'dial-cancelled' });
    await relay.clock.run(client.close(0));
  });
});
