import { describe, expect, it } from 'vitest';
import { WstunError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { ClientHistory } from '../../../src/tunnel/session/client-history.ts';
import { type TunnelStatus, tunnelStatus } from '../../../src/tunnel/session/client-status.ts';
import type { ReconnectingSession } from '../../../src/tunnel/session/reconnecting-session.ts';
import { TunnelClient } from '../../../src/tunnel/session/tunnel-client.ts';
import type { Target, TunnelStream } from '../../../src/tunnel/stream/stream.ts';
import { MemoryRelay } from '../../support/links/memory-relay.ts';
import { never } from '../../support/never.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const target: Target = { kind: 'name', name: 'example.org', port: 80 };
const START = 1_700_000_000_000;

function start(relay = new MemoryRelay(new VirtualClock({ wallTime: START })), options = {}) {
  const { clock } = relay;
  const client = new TunnelClient(relay, {}, silentLogger, { clock, ...options });
  const run = client.run().catch((error: unknown) => error);
  const until = (matches: (status: TunnelStatus) => boolean): Promise<void> =>
    clock.advanceUntil(() => matches(client.status()), 600_000);
  const open = (): Promise<TunnelStream> => clock.run(client.open(target, never));
  const end = async (): Promise<void> => {
    await clock.run(client.close(0));
    await clock.run(run);
  };
  return { relay, clock, client, until, open, end, run };
}

async function echo({ clock }: MemoryRelay, stream: TunnelStream, bytes: number): Promise<void> {
  let left = bytes;
  stream.on('data', (chunk: Buffer) => {
    left -= chunk.length;
  });
  stream.write(Buffer.alloc(bytes));
  await clock.advanceUntil(() => left === 0, 60_000);
  stream.removeAllListeners('data');
}

describe('the status of a TunnelClient', () => {
  it('a client that has had no session yet says so, with the fault, how often it came, and the next attempt', async () => {
    const relay = new MemoryRelay(new VirtualClock({ wallTime: START }));
    relay.faults.push(
      new WstunError('relay-unreachable'),
      ...Array.from({ length: 8 }, () => new WstunError('relay-refused')),
    );
    const { client, clock, until, end } = start(relay);
    await until(({ outage }) => outage?.failures === 3);
    const { state, since, outage, route, links, roundTripMs } = client.status();
    expect({ state, since, links, route, roundTripMs }).toEqual({ state: 'connecting', since: START, links: 0 });
    expect(outage?.error).toMatchObject({ fault: 'relay-refused' });
    expect(outage?.nextAttemptAt).toBeGreaterThan(clock.wallTime());
    expect(outage?.heldUntil).toBeUndefined();
    await end();
  });

  it('while an attempt is under way there is no time of the next one', async () => {
    const relay = new MemoryRelay(new VirtualClock({ wallTime: START }));
    relay.faults.push(new WstunError('relay-unreachable'));
    relay.delayMs = 1_000;
    const { client, until, end } = start(relay);
    await until(() => relay.dials === 2);
    expect(client.status()).toMatchObject({ state: 'connecting', outage: { failures: 1, nextAttemptAt: undefined } });
    await until(({ state }) => state === 'connected');
    expect(client.status().outage).toBeUndefined();
    await end();
  });

  it('a connected client counts what its streams move, also of streams that have ended', async () => {
    const { relay, client, clock, open, end } = start();
    const first = await open();
    await echo(relay, first, 1_000);
    await clock.advance(5_000);
    const second = await open();
    await echo(relay, second, 200);
    const openedAt = client.status().streams.map((stream) => stream.openedAt);
    expect((openedAt[1] ?? 0) - (openedAt[0] ?? 0)).toBeGreaterThanOrEqual(5_000);
    expect(client.status()).toMatchObject({
      state: 'connected',
      links: 1,
      roundTripMs: { now: expect.any(Number), min: expect.any(Number) },
      streams: [
        { target, sent: 1_000, received: 1_000 },
        { target, sent: 200, received: 200 },
      ],
      streamCount: 2,
      transferred: { sent: 1_200, received: 1_200 },
    });
    first.destroy();
    await clock.advanceUntil(() => client.status().streamCount === 1, 60_000);
    expect(client.status().transferred).toEqual({ sent: 1_200, received: 1_200 });
    second.destroy();
    await end();
    expect(client.status().transferred).toEqual({ sent: 1_200, received: 1_200 });
  });

  it('without a link the client says until when its streams wait, and counts the resumption', async () => {
    const { relay, client, clock, until, open, end } = start(undefined, { resumeWindowMs: 60_000 });
    const stream = await open();
    const before = client.status().since;
    await clock.advance(10_000);
    relay.faults.push(new WstunError('relay-unreachable'), new WstunError('relay-unreachable'));
    const lostAt = clock.wallTime();
    relay.link?.abort();
    await until(({ outage }) => outage?.failures === 1);
    expect(client.status()).toMatchObject({ state: 'link-lost', links: 0, resumes: 0, streamCount: 1 });
    expect(Math.abs(client.status().since - lostAt)).toBeLessThan(1_000);
    expect(client.status().outage?.heldUntil).toBe(client.status().since + 60_000);
    await until(({ state }) => state === 'connected');
    expect(client.status()).toMatchObject({ resumes: 1, streamsLost: 0 });
    expect(client.status().since).toBeGreaterThan(before);
    stream.destroy();
    await end();
  });

  it('a session that ends takes its streams with it: they are counted as lost, and the fault is told', async () => {
    const { relay, client, until, open, end } = start();
    await open();
    await open();
    relay.faults.push(...Array.from({ length: 4 }, () => new WstunError('relay-unreachable')));
    const { exit } = relay;
    relay.exit = relay.newExit();
    exit.endAll('internal');
    await until(({ state }) => state === 'disconnected');
    expect(client.status()).toMatchObject({ streamsLost: 2, streamCount: 0, resumes: 0 });
    expect(client.status().outage?.error).toMatchObject({ fault: 'internal' });
    await until(({ outage }) => outage?.failures === 2);
    expect(client.status().outage?.error).toMatchObject({ fault: 'relay-unreachable' });
    await until(({ state }) => state === 'connected');
    await end();
    expect(client.status()).toMatchObject({ state: 'closing', streamsLost: 2 });
  });

  it('a ping is answered with its round trip, several at once too, and not at all where there is no session', async () => {
    const { client, clock, until, end } = start();
    await expect(client.ping(1_000, never)).rejects.toMatchObject({ fault: 'not-connected' });
    await until(({ state }) => state === 'connected');
    const [one, two] = await clock.run(Promise.all([client.ping(1_000, never), client.ping(1_000, never)]));
    expect(one).toBeGreaterThanOrEqual(0);
    expect(two).toBe(one);
    await end();
  });

  it('a ping without an answer in time is lost, and one whose session ends says why', async () => {
    const { relay, client, clock, until, end } = start();
    await until(({ state }) => state === 'connected');
    relay.link?.pause();
    await expect(clock.run(client.ping(1_000, never))).rejects.toMatchObject({ fault: 'ping-lost' });
    const pinged = client.ping(10_000, never).catch((error: unknown) => error);
    await end();
    expect(await pinged).toMatchObject({ fault: 'session-closed' });
  });

  it('a client that has given up says why, and that no attempt follows', async () => {
    const relay = new MemoryRelay(new VirtualClock({ wallTime: START }));
    relay.faults.push(new WstunError('keys-rotated'));
    const { client, clock, run } = start(relay);
    await clock.run(run);
    expect(client.status().outage).toMatchObject({ error: { fault: 'keys-rotated' }, nextAttemptAt: undefined });
  });

  it('of many streams the newest thousand are shown, the oldest of them first, and all are counted', () => {
    const relay = new MemoryRelay(new VirtualClock({ wallTime: START }));
    const { clock } = relay;
    const openStreams = Array.from({ length: 1_500 }, (_, openedAt) => ({
      ...{ target, openedAt },
      ...{ sentBytes: 1, receivedBytes: 2 },
    }));
    const driver = { openStreams, linkCount: 1, transferred: { sent: 1_500, received: 3_000 } };
    const session = { driver, isUsable: true } as unknown as ReconnectingSession;
    const { streams, streamCount, transferred } = tunnelStatus({
      ...{ clock, dialer: relay, history: new ClientHistory(0), sessions: new Set([session]), current: session },
      ...{ wasConnected: true, lostAt: undefined },
    });
    expect({ streamCount, transferred }).toEqual({ streamCount: 1_500, transferred: { sent: 1_500, received: 3_000 } });
    expect(streams.map((stream) => stream.openedAt - START)).toEqual(openStreams.slice(500).map((one) => one.openedAt));
  });
});
