/** The gate of a running relay: clocks, restarts, and what exits may announce. */
import { randomBytes } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import nacl from 'tweetnacl';
import { describe, expect, it, onTestFinished } from 'vitest';
import { decodeInvite, type Invite } from '../../src/crypto/invite.ts';
import { createIdentity, type Identity } from '../../src/crypto/keys.ts';
import { type TicketFields, TicketSealer } from '../../src/crypto/ticket.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { announcements, decodeControl, encodeControl } from '../../src/transport/control-messages.ts';
import type { Message } from '../../src/transport/message-link.ts';
import { TicketDialer } from '../../src/tunnel/dial/ticket-dialer.ts';
import { twinOf } from '../support/crypto/low-order-points.ts';
import { LinkRecorder } from '../support/links/link-recorder.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { startNginx } from '../support/programs/nginx.ts';
import { freePort } from '../support/programs/programs.ts';
import { wrongClock } from '../support/programs/wrong-clock.ts';
import {
  invite,
  type RunningClient,
  startBehindRelay,
  startClient,
  startExit,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { openRaw, readUntil } from '../support/proxy/raw-http.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { until } from '../support/until.ts';

const FIELDS: TicketFields = { role: 'client', destination: '', protocol: 1, features: 0 };

async function carries({ port }: RunningClient): Promise<void> {
  const socket = await connectThrough('SOCKS5', port, await tcpServer(echo));
  const { sent, received } = await exchange(socket, 100_000);
  expect(received).toEqual({ bytes: 100_000, hash: sent });
}

/** The first line and the headers of what the relay says to an upgrade with that ticket. */
async function upgrade(port: number, ticket: string): Promise<string> {
  const socket = openRaw(port, false);
  const key = `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`;
  const head = ['Host: relay', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13', key];
  socket.write(`${[`GET /${ticket} HTTP/1.1`, ...head].join('\r\n')}\r\n\r\n`);
  const answer = await readUntil(socket, '\r\n\r\n');
  socket.destroy();
  return answer;
}

function sealerOf(secret: string | undefined): TicketSealer {
  const { peer, relayGateKey } = decodeInvite(secret ?? '');
  return new TicketSealer(peer, relayGateKey);
}

/** The relay reads its list again after a change. */
async function untilKnown(port: number, sealer: TicketSealer, fields = FIELDS): Promise<void> {
  const opens = async () => (await upgrade(port, sealer.seal(fields, Date.now()))).startsWith('HTTP/1.1 101 ');
  while (!(await opens())) await delay(100);
}

describe('a wrong clock', () => {
  it('a relay with a wrong clock, behind a web server with a right one, names it in its log, and its clients connect', async () => {
    const relayPort = await freePort();
    const nginx = await startNginx(`
    location / {
      proxy_pass http://127.0.0.1:${relayPort};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
    }`);
    const args = ['--url', `ws://127.0.0.1:${nginx.port}`];
    const relay = await startRelay({ port: relayPort, args, env: await wrongClock(600) });
    await carries(await startClient(await invite(relay, 'alice', { allow: ['*'] })));
    expect(relay.process.stderr).toMatch(
      /a ticket of alice is (599|60[01]) s old: the clock of alice or of this machine is wrong/,
    );
  });

  it.each([-7_200, 10_800])(
    'a client whose clock is wrong by %i s connects, corrected by what the relay proves',
    async (seconds) => {
      const relay = await startRelay();
      const secret = await invite(relay, 'alice', { allow: ['*'] });
      const client = await startClient(secret, { env: await wrongClock(seconds) });
      await carries(client);
      expect(relay.process.stderr).toContain('a ticket of alice is');
    },
  );
});

describe('a used ticket', () => {
  it.each(['SIGTERM', 'SIGKILL'] as const)(
    'a relay rejects a used ticket after a restart by %s, and accepts one that was sealed before it and not used',
    async (signal) => {
      const relay = await startRelay();
      const sealer = sealerOf(relay.invite);
      const folder = join(relay.state, 'used-tickets');
      const [used, unused] = [sealer.seal(FIELDS, Date.now()), sealer.seal(FIELDS, Date.now())];
      expect(await upgrade(relay.port, used)).toMatch(/^HTTP\/1\.1 101 /);
      expect(await upgrade(relay.port, used)).toMatch(/^HTTP\/1\.1 404 /);
      await until(() => readdirSync(folder).some((name) => statSync(join(folder, name)).size > 0));
      relay.process.signal(signal);
      await relay.process.exited;
      const again = await startRelay({ state: relay.state });
      const answer = await upgrade(again.port, used);
      expect(answer).toMatch(/^HTTP\/1\.1 404 /);
      expect(answer).not.toMatch(/^etag/im);
      // One that was sealed before the restart, and not used, is as good as ever.
      expect(await upgrade(again.port, unused)).toMatch(/^HTTP\/1\.1 101 /);
    },
  );
});

describe('links that are opened again and again', () => {
  it('a relay that knows 5,000 keys never rejects a client that loses hundreds of links', async () => {
    const relay = await startRelay();
    const evil = decodeInvite(await invite(relay, 'evil', { role: 'exit' }));
    await untilKnown(relay.port, new TicketSealer(evil.peer, evil.relayGateKey), { ...FIELDS, role: 'exit' });
    const link = await registerExit(evil);
    const keys = Array.from({ length: 5_000 }, () => Buffer.from(randomBytes(32).with(31, 0x55)).toString('base64url'));
    for (const message of announcements(keys)) link.send(encodeControl(message));
    await until(() => link.told() === 1, 60_000);
    const sealer = sealerOf(relay.invite);
    const answers: string[] = [];
    for (let i = 0; i < 600; i++)
      answers.push((await upgrade(relay.port, sealer.seal(FIELDS, Date.now()))).slice(0, 13));
    expect(new Set(answers)).toEqual(new Set(['HTTP/1.1 101 ']));
  }, 300_000);

  it('thousands of links that one client opens and drops take nothing from other clients of its exit, nor the exit from them', async () => {
    const { relay, exit } = await startBehindRelay();
    const [alice, mallory] = [await invite(exit, 'alice', { allow: ['*'] }), await invite(exit, 'mallory')];
    const sealer = sealerOf(mallory);
    const fields = { ...FIELDS, destination: 'home' };
    await untilKnown(relay.port, sealer, fields);
    const seen = new Map<string, number>();
    const flood = async (): Promise<void> => {
      for (let i = 0; i < 250; i++) {
        const ticket = sealer.seal(fields, Date.now());
        const answer = await upgrade(relay.port, ticket);
        const reason =
          sealer.refusalIn(/^ETag: (.*)$/im.exec(answer)?.[1] ?? '', ticket)?.reason ?? answer.slice(9, 12);
        seen.set(reason, (seen.get(reason) ?? 0) + 1);
      }
    };
    const floods = Promise.all(Array.from({ length: 20 }, flood));
    await carries(await startClient(alice));
    await floods;
    // Each was accepted, or rejected as too often while there were proofs for that.
    for (const answer of seen.keys()) expect(['101', '404', 'too-often']).toContain(answer);
    await carries(await startClient(alice));
    await exit.process.kill();
    await startExit({ state: exit.state });
    await carries(await startClient(alice));
  }, 240_000);
});

/** The control link of an exit that a test plays. */
async function registerExit(of: Invite) {
  const dialer = new TicketDialer(of, silentLogger);
  const options = { signal: new AbortController().signal };
  const link = await dialer.dial(of.relayUrls[0] ?? '', { role: 'exit', destination: '' }, options);
  onTestFinished(() => link.abort());
  const recorder = new LinkRecorder(link);
  return {
    send: (message: Message) => link.send(message),
    /** How often it was told that its list is known. */
    told: () => recorder.messages.filter((message) => decodeControl([message])?.type === 'registered').length,
  };
}

describe('what an exit announces', () => {
  it('an exit that announces weak keys lets nobody in by them, and takes nothing from names of the relay’s own list', async () => {
    const relay = await startRelay();
    const alice = decodeInvite(relay.invite ?? '');
    const aliceSealer = new TicketSealer(alice.peer, alice.relayGateKey);
    const evil = decodeInvite(await invite(relay, 'evil', { role: 'exit' }));
    await untilKnown(relay.port, new TicketSealer(evil.peer, evil.relayGateKey), { ...FIELDS, role: 'exit' });
    const link = await registerExit(evil);
    const spelt = (key: Uint8Array, lastByte = key[31] ?? 0): string =>
      Buffer.from(key.with(31, lastByte)).toString('base64url');
    const gate = alice.peer.public.gate;
    const zero = new Uint8Array(32);
    const bob = createIdentity();
    const keys = [
      spelt(zero),
      spelt(gate, (gate[31] ?? 0) | 0x80),
      spelt(twinOf(gate)),
      spelt(gate),
      spelt(bob.public.gate),
    ];
    const opens = async (): Promise<boolean> =>
      (await upgrade(relay.port, aliceSealer.seal(FIELDS, Date.now()))).startsWith('HTTP/1.1 101 ');
    link.send(encodeControl({ type: 'bearers', keys, more: false }));
    await until(() => link.told() === 1);
    expect(relay.process.stderr).toMatch(/"exit":"evil","keys":2,.*an exit announced invalid keys/);
    expect(await opens()).toBe(true);
    // K = HSalsa20(0, 0), for any private key.
    const known = nacl.box.before(zero, randomBytes(32));
    const everybody = new TicketSealer({ exposeGateSharedKey: () => known } as unknown as Identity, zero);
    const stranger = await upgrade(relay.port, everybody.seal({ ...FIELDS, destination: 'evil' }, Date.now()));
    expect(stranger).toMatch(/^HTTP\/1\.1 404 /);
    // The others of the list are let in.
    const bobs = new TicketSealer(bob, alice.relayGateKey);
    const answer = await upgrade(relay.port, bobs.seal({ ...FIELDS, destination: 'evil' }, Date.now()));
    expect(answer).toMatch(/^HTTP\/1\.1 101 /);
    link.send(encodeControl({ type: 'bearers', keys: [], more: false }));
    await until(() => link.told() === 2);
    expect(await opens()).toBe(true);
  });

  it('a relay answers an exit’s ticket that leads to a name like a stranger’s, and does not use it up', async () => {
    const relay = await startRelay();
    const sealer = sealerOf(await invite(relay, 'home', { role: 'exit' }));
    await untilKnown(relay.port, sealer, { ...FIELDS, role: 'exit' });
    for (const destination of ['foo', 'home', 'A'.repeat(32), '0'.repeat(31)]) {
      const ticket = sealer.seal({ ...FIELDS, role: 'exit', destination }, Date.now());
      for (let i = 0; i < 2; i++) expect(await upgrade(relay.port, ticket)).toMatch(/^HTTP\/1\.1 404 /);
    }
  });
});
