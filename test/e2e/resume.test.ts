/** Connections that live on while their links are aborted, held and replaced: real processes, real programs. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import {
  CHAOS_MS,
  disturbEvery,
  exchangeThroughout,
  expectNothingLost,
  SEED,
  startBlindChaos,
  startChaos,
} from '../support/net/chaos-stack.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { payload, sendEndlessly, sha256 } from '../support/payload.ts';
import { startNginx } from '../support/programs/nginx.ts';
import { runWell } from '../support/programs/programs.ts';
import { startSshd } from '../support/programs/sshd.ts';
import { startRelay } from '../support/programs/wstun-stack.ts';
import { askSocks5, connectThrough, endOf, socks5Request } from '../support/proxy/through-proxy.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
/** How long each disturbance lasts. No test waits for anything by these. */
const KILL_EVERY_MS = 5_000;
/** Longer than the limit after which a link is suspected, and another is tried beside it. */
const HELD_MS = 4_000;
const STOPPED_MS = 3_000;
/** So long that the client waits longer and longer between attempts. */
const AWAY_MS = 3_000;

describe(`32 connections that exchange 2 MB each way (seed ${SEED})`, () => {
  it('32 connections of a named exit live on while their relay is killed and restarted every 5 s', {
    // Without a relay, and anew on an unknown path, for a good part of each 5 s: a long run takes longer than its
    // minute.
    timeout: 2 * CHAOS_MS + 600_000,
  }, async () => {
    const chaos = await startBlindChaos();
    const { client, relay } = chaos;
    let running = relay;
    let restarts = 0;
    const stop = disturbEvery(KILL_EVERY_MS, chaos, async () => {
      await running.process.kill();
      running = await startRelay({ state: relay.state, port: relay.port, args: ['--no-exit'] });
      restarts += 1;
    });
    await exchangeThroughout(client);
    await stop();
    expect(restarts).toBeGreaterThan(0);
    expectNothingLost(client);
  });
});

describe('a download and a typing ssh session', () => {
  it('a download and an ssh session live on through an aborted link, a held one, and a stopped relay', {
    timeout: 240_000,
  }, async () => {
    const { client, relay, proxy } = await startChaos();
    const [sshd, web] = [await startSshd(), await startNginx()];
    const file = payload(40 * MIB, 1);
    await writeFile(join(web.root, 'file'), file);
    const via = `nc -X 5 -x 127.0.0.1:${client.port} %h %p`;
    const script = 'for i in $(seq 1 40); do echo line $i; sleep 0.25; done; md5sum /dev/null';
    const ssh = runWell(
      'ssh',
      [...sshd.options, '-o', `ProxyCommand=${via}`, '-p', `${sshd.port}`, `${sshd.user}@127.0.0.1`, script],
      { limitMs: 60_000 },
    );
    const curl = runWell(
      'sh',
      [
        '-c',
        `curl -sS --fail --limit-rate 3M -x socks5h://127.0.0.1:${client.port} http://127.0.0.1:${web.port}/file | sha256sum`,
      ],
      { limitMs: 60_000 },
    );
    await until(() => proxy.bytes.down > MIB, 10_000);
    proxy.resetAll();
    await client.process.event('resumed');
    proxy.hold();
    await delay(HELD_MS);
    proxy.release();
    relay.process.signal('SIGSTOP');
    await delay(STOPPED_MS);
    relay.process.signal('SIGCONT');
    expect((await curl).slice(0, 64)).toBe(sha256(file));
    expect((await ssh).split('\n').filter((line) => line.startsWith('line')).length).toBe(40);
    expectNothingLost(client);
  });
});

describe('a relay with its own exit that is killed', () => {
  it('a killed relay with its own exit resets connections when it is back, and new ones work within 2 s', {
    timeout: 180_000,
  }, async () => {
    const { client, relay } = await startChaos();
    const sending = await tcpServer((socket: Socket) => sendEndlessly(socket));
    const echoing = await tcpServer(echo);
    const busy = await connectThrough('SOCKS5', client.port, sending);
    busy.resume();
    await once(busy, 'data');
    const end = endOf(busy);
    await relay.process.kill();
    await client.process.event('lost');
    await delay(AWAY_MS);
    await startRelay({ state: relay.state, port: relay.port });
    const back = performance.now();
    const { code, socket } = await askSocks5(client.port, socks5Request('127.0.0.1', echoing));
    expect(code).toBe(0);
    expect(performance.now() - back).toBeLessThan(2_000);
    expect(await end).toBe('reset');
    socket.destroy();
    expect(client.process.events.find(({ event }) => event === 'session-lost')).toMatchObject({
      code: 'WSTUN-E432',
      streams: 1,
    });
  });
});
