/**
 * Relays on several machines, here several processes, that work together by real NATS servers.
 * @module-tag waits
 */
import { describe, expect, it } from 'vitest';
import { decodeInvite, encodeInvite } from '../../src/crypto/invite.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { TicketDialer } from '../../src/tunnel/dial/ticket-dialer.ts';
import { LinkRecorder } from '../support/links/link-recorder.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { WstunCluster } from '../support/programs/wstun-cluster.ts';
import { invite, type RunningClient, startClient, startExit } from '../support/programs/wstun-stack.ts';
import { connectThrough, endOf } from '../support/proxy/through-proxy.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
const LIMIT = { timeout: 240_000 };

async function use({ port }: RunningClient, target: number, bytes: number): Promise<void> {
  const socket = await connectThrough('SOCKS5', port, target);
  const { sent, received } = await exchange(socket, bytes, 1);
  expect(received).toEqual({ bytes, hash: sent });
  socket.destroy();
}

/** An exit that is registered at one of them, and what its clients' invites are made with. */
async function exitAt(cluster: WstunCluster, at: number) {
  const registration = await cluster.invite('home', { role: 'exit' }, [at]);
  const exit = await startExit({ invite: registration });
  const clientOf = async (name: string, relay: number) =>
    await invite(exit, name, { allow: ['127.0.0.1'], url: cluster.relay(relay).url });
  return { exit, clientOf };
}

/** With another relay's invite: all have the same keys. */
async function clientAt(cluster: WstunCluster, secret: string, at: number): Promise<RunningClient> {
  return await startClient(encodeInvite({ ...decodeInvite(secret), relayUrls: [cluster.relay(at).url] }));
}

/** How long a relay takes to say that an exit is absent, ms, from the moment at which the link stands. */
async function absentAfter(secret: string): Promise<number> {
  const parsed = decodeInvite(secret);
  const dialer = new TicketDialer(parsed, silentLogger);
  const [url = ''] = parsed.relayUrls;
  const scope = { role: 'client', destination: parsed.exitName ?? '' } as const;
  const link = await dialer.dial(url, scope, { signal: new AbortController().signal });
  const start = performance.now();
  const recorder = new LinkRecorder(link);
  await until(() => recorder.messages.length > 0);
  const took = performance.now() - start;
  expect(Buffer.from(recorder.messages[0] ?? []).toString('hex')).toBe('00000e');
  return took;
}

describe('a cluster of relays', () => {
  it('a client at one relay reaches an exit that is registered at another one: 16 MiB each way', LIMIT, async () => {
    const target = await tcpServer(echo);
    const cluster = await WstunCluster.start();
    const { clientOf } = await exitAt(cluster, 0);
    const secret = await clientOf('alice', 1);
    await use(await startClient(secret), target, 16 * MIB);
  });

  it('a client of an exit that is at no relay is told so in less than 50 ms', LIMIT, async () => {
    const cluster = await WstunCluster.start();
    const { exit, clientOf } = await exitAt(cluster, 0);
    const secret = await clientOf('alice', 1);
    // Its keys are known at the other relay.
    const client = await startClient(secret);
    await client.process.kill();
    exit.process.signal('SIGTERM');
    await exit.process.exited;
    await until(() => cluster.relay(0).process.stderr.includes('exit disconnected'));
    const times: number[] = [];
    for (let at = 0; at < 10; at++) times.push(await absentAfter(secret));
    times.sort((a, b) => a - b);
    expect(times.at(-2), `ms: ${times.map(Math.round)}`).toBeLessThan(50);
  });

  it('a name that is removed by a command loses its sessions at three relays within a second', LIMIT, async () => {
    const target = await tcpServer(echo);
    const cluster = await WstunCluster.start({ relays: 3, servers: 3, args: [] });
    const secret = await cluster.invite('alice', { allow: ['*'] });
    const clients = await Promise.all([0, 1, 2].map((at) => clientAt(cluster, secret, at)));
    const sockets = await Promise.all(clients.map(({ port }) => connectThrough('SOCKS5', port, target)));
    const ends = sockets.map(endOf);
    const start = performance.now();
    await cluster.access.list.remove('alice');
    const written = performance.now();
    expect(await Promise.all(ends)).toEqual(['reset', 'reset', 'reset']);
    expect(performance.now() - start, `written after ${written - start} ms`).toBeLessThan(1_000);
    for (const { process } of clients)
      expect(await process.event('session-lost')).toMatchObject({ code: 'WSTUN-E207' });
  });
});
