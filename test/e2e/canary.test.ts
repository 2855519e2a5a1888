/** What an eavesdropper on the path sees: neither the payload of a connection nor its destination. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { dialWebSocket } from '../../src/transport/websocket/websocket-dial.ts';
import { securePair } from '../support/links/secure-pair.ts';
import { startLinkServer } from '../support/links/websocket-pair.ts';
import { driverPair } from '../support/mux/session-pairs.ts';
import { startDnsServer } from '../support/net/dns-server.ts';
import { occurrences, type RecordingProxy, recordingProxy } from '../support/net/recording-proxy.ts';
import { tcpServer } from '../support/net/tcp.ts';
import { WstunProcess } from '../support/programs/wstun-process.ts';
import { invite, spawnClient, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough, take } from '../support/proxy/through-proxy.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';

const CANARY_BYTES = 32;

/** New ones for each test, so that nothing is found by chance or left over. */
class Canaries {
  readonly up = randomBytes(CANARY_BYTES);
  readonly down = randomBytes(CANARY_BYTES);
  readonly name = `canary-${randomBytes(8).toString('hex')}.wstun-e2e.net`;

  /** Answers the canary with the other one. */
  serve(stream: Duplex): void {
    stream.once('data', (bytes: Buffer) => {
      expect(bytes.equals(this.up)).toBe(true);
      stream.write(this.down);
    });
  }

  countIn(proxy: RecordingProxy): { readonly up: number; readonly down: number; readonly name: number } {
    const recorded = proxy.recorded();
    return {
      up: occurrences(this.up, recorded),
      down: occurrences(this.down, recorded),
      name: occurrences(Buffer.from(this.name), recorded),
    };
  }
}

const NOTHING = { up: 0, down: 0, name: 0 };

function bytesIn(proxy: RecordingProxy): number {
  return proxy.recorded().reduce((sum, { length }) => sum + length, 0);
}

/** Both canaries through a client's proxy, by SOCKS with a name. */
async function sendThrough(proxyPort: number, canaries: Canaries, targetPort: number): Promise<void> {
  const socket = await connectThrough('SOCKS5', proxyPort, targetPort, canaries.name);
  socket.write(canaries.up);
  expect((await take(socket, CANARY_BYTES)).equals(canaries.down)).toBe(true);
  socket.destroy();
}

describe('someone who records all traffic', () => {
  it('a recording of all traffic between client and relay holds neither payload nor destination', async () => {
    const canaries = new Canaries();
    const target = await tcpServer((socket) => canaries.serve(socket));
    const dns = await startDnsServer({ [canaries.name]: { addresses: ['127.0.0.1'] } });
    atEnd(() => dns.close());
    const relay = await startRelay({ dns });
    const wire = await recordingProxy(relay.port);
    const url = `ws://127.0.0.1:${wire.port}`;
    const client = await startClient(await invite(relay, 'alice', { allow: ['127.0.0.1'], url }));
    await sendThrough(client.port, canaries, target);
    expect(bytesIn(wire)).toBeGreaterThan(2 * CANARY_BYTES);
    expect(canaries.countIn(wire)).toEqual(NOTHING);
    expect(dns.questions).toContain(`A ${canaries.name}`);
  });

  it('a recording of both legs of a relay that only forwards holds neither payload nor destination, nor does its log', async () => {
    const canaries = new Canaries();
    const target = await tcpServer((socket) => canaries.serve(socket));
    const dns = await startDnsServer({ [canaries.name]: { addresses: ['127.0.0.1'] } });
    atEnd(() => dns.close());
    const relay = await startRelay({ args: ['--no-exit'] });
    const clientLeg = await recordingProxy(relay.port);
    const exitLeg = await recordingProxy(relay.port);
    const urlOf = ({ port }: RecordingProxy): string => `ws://127.0.0.1:${port}`;
    const registration = await invite(relay, 'home', { role: 'exit', url: urlOf(exitLeg) });
    const state = await tempDir();
    const exit = new WstunProcess(['exit', '--json', '--state', state, '--dns', dns.address], {
      env: { WSTUN_INVITE: registration },
    });
    await exit.event('ready');
    const client = await startClient(await invite({ state }, 'alice', { allow: ['127.0.0.1'], url: urlOf(clientLeg) }));
    await sendThrough(client.port, canaries, target);
    for (const leg of [clientLeg, exitLeg]) {
      expect(bytesIn(leg)).toBeGreaterThan(2 * CANARY_BYTES);
      expect(canaries.countIn(leg)).toEqual(NOTHING);
    }
    expect(relay.process.stderr).not.toContain(canaries.name);
    expect(dns.questions).toContain(`A ${canaries.name}`);
  });

  it('a recording of a session that is not encrypted holds payload and destination: the search works', async () => {
    const canaries = new Canaries();
    const server = await startLinkServer();
    atEnd(() => server.close());
    const wire = await recordingProxy(server.port);
    const accepted = server.nextLink();
    const near = await dialWebSocket(new URL(`ws://127.0.0.1:${wire.port}/`), { signal: AbortSignal.timeout(5_000) });
    const { link: far } = await accepted;
    const pair = driverPair(await securePair({ near, far }, { encryption: 'off' }), {
      config: {},
      onOffer: (offer) => canaries.serve(offer.accept()),
      onEnd: () => {},
    });
    atEnd(() => pair.release());
    const stream = await pair.client.open({ kind: 'name', name: canaries.name, port: 1 }, AbortSignal.timeout(5_000));
    stream.on('error', () => {});
    stream.write(canaries.up);
    const [answer] = (await once(stream, 'data')) as [Buffer];
    expect(answer.equals(canaries.down)).toBe(true);
    expect(canaries.countIn(wire)).toEqual({ up: 1, down: 1, name: 1 });
  });
});

describe('the search in a recording', () => {
  it('the search finds a secret as it is, as hex, and within base64 at any alignment', () => {
    const secret = randomBytes(CANARY_BYTES);
    const around = (lead: number) => Buffer.concat([randomBytes(lead), secret, randomBytes(5)]);
    const texts = [0, 1, 2, 3].flatMap((lead) =>
      (['latin1', 'hex', 'base64', 'base64url'] as const).map((form) => around(lead).toString(form)),
    );
    for (const text of [...texts, secret.toString('hex').toUpperCase()])
      expect(occurrences(secret, [randomBytes(50), Buffer.from(text, 'latin1')])).toBeGreaterThan(0);
    expect(occurrences(secret, [randomBytes(100_000)])).toBe(0);
  });
});

describe('wstun client --encryption off', () => {
  it('`wstun client --encryption off` rejects an invite with ws:// and says why, before it dials anything', async () => {
    const relay = await startRelay();
    const client = spawnClient(await invite(relay, 'bob'), { args: ['--encryption', 'off'] });
    expect(await client.exited).toBe(2);
    expect(client.stderr).toContain('WSTUN-E120');
    expect(client.stderr).toContain('ws://');
    expect(client.events.map(({ event }) => event)).not.toContain('ready');
    expect(relay.process.stderr).not.toContain('bob');
  });
});
