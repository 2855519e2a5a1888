/**
 * What the host of a relay, and someone who records either leg, can see of the session of a client and a named exit.
 */
import { connect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { startDnsServer } from '../support/net/dns-server.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { invite, startClient, startExit, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough, take } from '../support/proxy/through-proxy.ts';
import { atEnd } from '../support/scope.ts';

/** 32 bytes that nothing else sends. */
const CANARY = 'canary-7f3a91c2d8e64b05a1f9c3e7d';
const NAME = 'well-hidden.wstun.example';

/** A TCP proxy before `port` that keeps all that crosses, both ways. */
async function recorder(port: number): Promise<{ port: number; count: (text: string) => number; bytes: () => number }> {
  const ways: Buffer[][] = [];
  const tap = (from: Socket, to: Socket): void => {
    const kept: Buffer[] = [];
    ways.push(kept);
    from.on('data', (chunk: Buffer) => kept.push(chunk));
    from.pipe(to);
  };
  const own = await tcpServer((socket) => {
    const onward = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    onward.on('error', () => socket.destroy());
    socket.on('close', () => onward.destroy());
    tap(socket, onward);
    tap(onward, socket);
  });
  const crossed = (): string[] => ways.map((kept) => Buffer.concat(kept).toString('latin1'));
  return {
    port: own,
    count: (text) => crossed().reduce((sum, way) => sum + way.split(text).length - 1, 0),
    bytes: () => crossed().reduce((sum, way) => sum + way.length, 0),
  };
}

describe('the legs of a relay', () => {
  it('the legs of a relay that only forwards never show payload or destination; the same search finds them at the target', async () => {
    const beforeTarget = await recorder(await tcpServer(echo));
    const dns = await startDnsServer({ [NAME]: { addresses: ['127.0.0.1'] } });
    atEnd(() => dns.close());
    const relay = await startRelay({ args: ['--no-exit'] });
    const [exitLeg, clientLeg] = [await recorder(relay.port), await recorder(relay.port)];
    const through = (leg: { port: number }) => `ws://127.0.0.1:${leg.port}`;
    const registration = await invite(relay, 'home', { role: 'exit', url: through(exitLeg) });
    const exit = await startExit({ invite: registration, args: ['--dns', dns.address] });
    const client = await startClient(await invite(exit, 'alice', { allow: ['*'], url: through(clientLeg) }));

    const socket = await connectThrough('SOCKS5', client.port, beforeTarget.port, NAME);
    for (let i = 0; i < 100; i++) {
      socket.write(CANARY);
      expect((await take(socket, CANARY.length)).toString()).toBe(CANARY);
    }
    expect(dns.questions).toContain(`A ${NAME}`);
    expect(beforeTarget.count(CANARY)).toBe(200);
    for (const leg of [exitLeg, clientLeg]) {
      expect(leg.bytes()).toBeGreaterThan(200 * CANARY.length);
      expect([leg.count(CANARY), leg.count(NAME), leg.count('wstunpk1_'), leg.count('wstunsk1_')]).toEqual([
        0, 0, 0, 0,
      ]);
    }
    for (const { stderr } of [relay.process, exit.process]) expect(stderr).not.toMatch(new RegExp(`${CANARY}|${NAME}`));
  });
});
