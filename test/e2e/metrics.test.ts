/**
 * The admin pages of real processes in each state: what Prometheus reads is right before the first link, while it is
 * lost, after a resume, while a process drains, without an exit, and after a rotation of keys. `AdminPages` holds each
 * reading to what is true of all.
 */
import { writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { alertRules, dashboardExpressions } from '../support/metrics-page.ts';
import { type ChaosProxy, startChaosProxy } from '../support/net/chaos-proxy.ts';
import { closedPort, echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { AdminPages } from '../support/programs/admin-pages.ts';
import { startHaproxy } from '../support/programs/haproxy.ts';
import { startNats, urlsOf } from '../support/programs/nats.ts';
import { run } from '../support/programs/programs.ts';
import { startPrometheus } from '../support/programs/prometheus.ts';
import { WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import {
  invite,
  type RunningRelay,
  spawnClient,
  startClient,
  startExit,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { askSocks5, connectThrough, socks5Request, take } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const BYTES = 64 * 1024;
/** A dial after a lost link may wait for some seconds. */
const AGAIN_LIMIT_MS = 30_000;

const ADMIN = ['--admin', '127.0.0.1:0'];

const chaosBefore = (relay: RunningRelay): Promise<ChaosProxy> =>
  startChaosProxy({ target: { host: '127.0.0.1', port: relay.port }, seed: 1 });

/** The network is gone: nothing comes through, and what was open is reset. */
function lose(proxy: ChaosProxy): void {
  proxy.hold('reset');
  proxy.resetAll();
}

async function openEchoed(port: number, echoing: number): Promise<Socket> {
  const socket = await connectThrough('SOCKS5', port, echoing);
  socket.write('hello');
  await take(socket, 5);
  return socket;
}

/** By whatever carrier: an attempt that was reset leads to the next one. */
function linksIn(metrics: ReadonlyMap<string, number>): number {
  const carriers = ['websocket', 'http', 'page'].map((carrier) => metrics.get(`wstun_links{carrier="${carrier}"}`));
  return carriers.reduce<number>((sum, links = 0) => sum + links, 0);
}

/** Pages answer something; the process may be about to change. */
async function becomes(pages: AdminPages, what: string): Promise<void> {
  let last = '';
  const deadline = performance.now() + AGAIN_LIMIT_MS;
  while (!last.startsWith(what)) {
    expect(performance.now(), `${last} is not ${what}`).toBeLessThan(deadline);
    last = await pages.ready();
  }
}

describe('a relay with its own exit, and a client', () => {
  it('a relay and a client show metrics and readiness before the first link, while it is lost, after it, and while they drain', {
    timeout: 240_000,
  }, async () => {
    const echoing = await tcpServer(echo);
    const relay = await startRelay({ args: ADMIN });
    const atRelay = await AdminPages.of(relay.process, 'relay');
    expect(relay.process.events[0]).toMatchObject({ admin: `127.0.0.1:${atRelay.port}` });
    const proxy = await chaosBefore(relay);
    const url = `ws://127.0.0.1:${proxy.port}`;
    const secret = await invite(relay, 'alice', { allow: [`127.0.0.1:${echoing}`], url });

    proxy.hold('reset');
    const client = spawnClient(secret, { args: ADMIN });
    const atClient = await AdminPages.of(client, 'client');
    await client.event('retrying');
    expect(await atClient.healthy()).toBe('200 ok');
    expect(await atClient.ready()).toMatch(/^503 not ready: there is no session yet \(WSTUN-E\d+\)$/);
    const fresh = await atClient.metrics();
    expect(fresh.get('wstun_client_state{state="connecting"}')).toBe(1);
    expect(fresh.get('wstun_ready')).toBe(0);
    expect([...fresh.keys()].some((key) => key.startsWith('wstun_link_failures_total{reason="relay-'))).toBe(true);
    expect(await atRelay.ready()).toBe('200 ready');
    expect((await atRelay.metrics()).get('wstun_sessions{state="attached"}')).toBe(0);

    proxy.release();
    const ready = await client.event('ready', AGAIN_LIMIT_MS);
    expect(ready).toMatchObject({ admin: `127.0.0.1:${atClient.port}` });
    const port = Number(String(ready.listen).split(':')[1]);
    await exchange(await connectThrough('SOCKS5', port, echoing), BYTES);
    expect((await askSocks5(port, socks5Request('127.0.0.1', await closedPort()))).code).not.toBe(0);
    const kept = await openEchoed(port, echoing);
    expect(await atClient.ready()).toBe('200 ready');
    const busy = await atClient.metrics();
    expect(busy.get('wstun_client_state{state="connected"}')).toBe(1);
    expect(linksIn(busy)).toBe(1);
    expect(busy.get('wstun_payload_bytes_total{direction="sent"}')).toBe(BYTES + 5);
    expect(busy.get('wstun_streams_opened_total')).toBe(2);
    expect(busy.get('wstun_streams_open')).toBeGreaterThan(0);
    expect(busy.get('wstun_streams_refused_total{reason="dial-not-allowed",code="WSTUN-E304"}')).toBe(1);
    expect(busy.get('wstun_round_trip_seconds{stat="now"}')).toBeGreaterThan(0);
    expect(busy.get('wstun_handshake_seconds_count')).toBe(1);
    expect(busy.get('wstun_link_dial_seconds_count')).toBe(1);
    const served = await atRelay.metrics();
    expect(served.get('wstun_sessions{state="attached"}')).toBe(1);
    expect(linksIn(served)).toBe(1);
    expect(served.get('wstun_payload_bytes_total{direction="received"}')).toBe(BYTES + 5);
    expect(served.get('wstun_dial_seconds_count{outcome="connected"}')).toBe(2);
    expect(served.get('wstun_ticket_seconds_count')).toBeGreaterThan(0);
    expect(served.get('wstun_handshake_seconds_count')).toBe(1);

    lose(proxy);
    await client.event('lost');
    expect(await atClient.ready()).toMatch(/^503 not ready: the link is lost/);
    expect((await atClient.metrics()).get('wstun_client_state{state="link-lost"}')).toBe(1);
    await until(() => relay.process.stderr.includes('session lost its link'));
    const waiting = await atRelay.metrics();
    expect(waiting.get('wstun_sessions{state="detached"}')).toBe(1);
    expect(linksIn(waiting)).toBe(0);

    proxy.release();
    await client.event('resumed', AGAIN_LIMIT_MS);
    for (const pages of [atClient, atRelay]) {
      const resumed = await pages.metrics();
      expect(resumed.get('wstun_resumes_total')).toBe(1);
      expect(resumed.get('wstun_sessions{state="attached"}')).toBe(1);
    }

    // With a stream that is open, it drains for long.
    relay.process.signal('SIGTERM');
    await becomes(atRelay, '503 not ready: draining');
    expect(await atRelay.healthy()).toBe('200 ok');
    expect((await atRelay.metrics()).get('wstun_streams_open')).toBe(1);
    await client.event('draining');
    kept.destroy();
    expect(await relay.process.exited).toBe(0);
    await becomes(atClient, '503 not ready: the session has ended');
    const lost = await atClient.metrics();
    expect(lost.get('wstun_client_state{state="disconnected"}')).toBe(1);
    expect(lost.get('wstun_sessions_started_total')).toBe(1);
  });

  it('the counters of a relay outlive a rotation of its keys, and those of a client the end of its sessions', {
    timeout: 120_000,
  }, async () => {
    const relay = await startRelay({ args: ADMIN });
    const secret = await invite(relay, 'alice', { allow: ['127.0.0.1'] });
    const { port, process: client } = await startClient(secret, { args: ADMIN });
    const [atRelay, atClient] = [await AdminPages.of(relay.process, 'relay'), await AdminPages.of(client, 'client')];
    await exchange(await connectThrough('SOCKS5', port, await tcpServer(echo)), BYTES);
    for (const pages of [atRelay, atClient])
      expect((await pages.metrics()).get('wstun_payload_bytes_total{direction="sent"}')).toBe(BYTES);
    expect(await wstun(['keys', 'rotate', '--yes', '--state', relay.state])).toMatchObject({ code: 0 });
    await client.event('session-lost');
    const after = await atRelay.metrics();
    expect(after.get('wstun_payload_bytes_total{direction="sent"}')).toBe(BYTES);
    expect(after.get('wstun_sessions_started_total')).toBe(1);
    expect(after.get('wstun_sessions_ended_total{reason="keys-rotated",code="WSTUN-E215"}')).toBe(1);
  });

  it('a relay that waits for its first certificate is alive, but not ready', async () => {
    const directory = `https://127.0.0.1:${await closedPort()}/dir`;
    const acme = ['--acme', 'relay.example.org', '--acme-directory', directory];
    const pages = await AdminPages.of((await startRelay({ args: [...ADMIN, ...acme] })).process, 'relay');
    expect(await pages.healthy()).toBe('200 ok');
    expect(await pages.ready()).toBe('503 not ready: there is no TLS certificate yet');
    expect((await pages.metrics()).get('wstun_ready')).toBe(0);
  });
});

describe('a relay that only forwards, a named exit, and its client', () => {
  it('a relay without an exit of its own and a named exit show metrics and readiness in each state', {
    timeout: 240_000,
  }, async () => {
    const echoing = await tcpServer(echo);
    const relay = await startRelay({ args: [...ADMIN, '--no-exit'] });
    const atRelay = await AdminPages.of(relay.process, 'relay');
    const proxy = await chaosBefore(relay);
    const url = `ws://127.0.0.1:${proxy.port}`;
    proxy.hold('reset');
    const state = await tempDir();
    const exit = new WstunProcess(['exit', '--json', '--state', state, ...ADMIN], {
      env: { WSTUN_INVITE: await invite(relay, 'home', { role: 'exit', url }) },
    });
    const atExit = await AdminPages.of(exit, 'exit');
    await exit.event('retrying');
    expect(await atExit.ready()).toMatch(/^503 not ready: not registered at a relay \(WSTUN-E\d+\)$/);
    expect((await atExit.metrics()).get('wstun_registrations')).toBe(0);
    expect(await atRelay.ready()).toBe('200 ready');
    expect((await atRelay.metrics()).get('wstun_exits_registered')).toBe(0);

    proxy.release();
    expect(await exit.event('ready', AGAIN_LIMIT_MS)).toMatchObject({ admin: `127.0.0.1:${atExit.port}` });
    expect(await atExit.ready()).toBe('200 ready');
    const secret = await invite({ state, process: exit }, 'bob', { allow: ['*'], url: relay.url });
    const { port, process: client } = await startClient(secret, { args: ADMIN });
    const atClient = await AdminPages.of(client, 'client');
    await exchange(await connectThrough('SOCKS5', port, echoing), BYTES);
    // The exit's own pages are out of reach for its clients, whatever their rules.
    expect((await askSocks5(port, socks5Request('127.0.0.1', atExit.port))).code).toBe(2);
    const kept = await openEchoed(port, echoing);
    const forwarding = await atRelay.metrics();
    expect(forwarding.get('wstun_exits_registered')).toBe(1);
    expect(forwarding.get('wstun_spliced_pairs')).toBe(1);
    expect(forwarding.get('wstun_spliced_bytes_total{direction="from_client"}')).toBeGreaterThan(BYTES);
    expect(forwarding.get('wstun_calls_total{outcome="answered"}')).toBe(1);
    expect(forwarding.get('wstun_call_answer_seconds_count')).toBe(1);
    // The control link, and two of the pair.
    expect(linksIn(forwarding)).toBe(3);
    expect(forwarding.get('wstun_payload_bytes_total{direction="sent"}')).toBe(0);
    const serving = await atExit.metrics();
    expect(serving.get('wstun_registrations')).toBe(1);
    expect(serving.get('wstun_sessions{state="attached"}')).toBe(1);
    expect(linksIn(serving)).toBe(1);
    expect(serving.get('wstun_payload_bytes_total{direction="received"}')).toBe(BYTES + 5);
    expect(serving.get('wstun_streams_open')).toBeGreaterThan(0);

    lose(proxy);
    await exit.event('retrying');
    expect(await atExit.ready()).toMatch(/^503 not ready: not registered at a relay \(WSTUN-E\d+\)$/);
    await client.event('lost');
    const absent = await atRelay.metrics();
    expect(absent.get('wstun_spliced_pairs')).toBe(0);
    expect(absent.get('wstun_spliced_bytes_total{direction="from_client"}')).toBeGreaterThan(BYTES);
    await client.event('retrying');
    const refused = 'wstun_refusals_total{stage="rendezvous",reason="exit-absent",code="WSTUN-E212"}';
    expect((await atRelay.metrics()).get(refused)).toBeGreaterThan(0);
    const lost = await atExit.metrics();
    expect(lost.get('wstun_registrations')).toBe(0);
    expect([...lost.keys()].some((key) => key.startsWith('wstun_registration_failures_total{'))).toBe(true);

    proxy.release();
    await client.event('resumed', AGAIN_LIMIT_MS);
    expect(await atExit.ready()).toBe('200 ready');
    for (const pages of [atExit, atClient]) expect((await pages.metrics()).get('wstun_resumes_total')).toBe(1);

    exit.signal('SIGTERM');
    await becomes(atExit, '503 not ready: draining');
    expect((await atExit.metrics()).get('wstun_streams_open')).toBe(1);
    client.signal('SIGTERM');
    await becomes(atClient, '503 not ready: draining');
    expect((await atClient.metrics()).get('wstun_client_state{state="closing"}')).toBe(1);
    kept.destroy();
    expect(await client.exited).toBe(0);
    expect(await exit.exited).toBe(0);
    expect((await atRelay.metrics()).get('wstun_exits_registered')).toBe(0);
    relay.process.signal('SIGTERM');
    expect(await relay.process.exited).toBe(0);
  });
});

describe('a load balancer', () => {
  it('HAProxy leaves out a relay that drains, by its readiness page', { timeout: 120_000 }, async () => {
    const echoing = await tcpServer(echo);
    const relay = await startRelay({ args: ADMIN });
    const pages = await AdminPages.of(relay.process, 'relay');
    const secret = await invite(relay, 'alice', { allow: [`127.0.0.1:${echoing}`] });
    const kept = await openEchoed((await startClient(secret)).port, echoing);
    const check = `check port ${pages.port} inter 100ms`;
    const port = await startHaproxy(relay.port, 'option httpchk GET /readyz', check);
    const status = async () => (await fetch(`http://127.0.0.1:${port}/`)).status;
    await expect.poll(status).toBe(404);
    relay.process.signal('SIGTERM');
    await becomes(pages, '503');
    // Of HAProxy: it has no server.
    await expect.poll(status).toBe(503);
    kept.destroy();
    expect(await relay.process.exited).toBe(0);
  });
});

describe('Prometheus', () => {
  it('promtool accepts the alert rules of docs/metrics.md', async () => {
    const file = join(await tempDir(), 'rules.yml');
    await writeFile(file, alertRules());
    expect(await run('promtool', ['check', 'rules', file])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/SUCCESS: [1-9]\d* rules found/),
    });
  });

  it('Prometheus reads a relay, an exit and a client, and can evaluate each expression of the dashboard', {
    timeout: 120_000,
  }, async () => {
    const relay = await startRelay({ args: ADMIN });
    const exit = await startExit({ invite: await invite(relay, 'home', { role: 'exit' }), args: ADMIN });
    const client = await startClient(await invite(exit, 'bob', { allow: ['*'] }), { args: ADMIN });
    const servers = urlsOf(await startNats());
    const inCluster = await startRelay({ args: [...ADMIN, '--url', 'ws://127.0.0.1:1', '--cluster', servers] });
    await exchange(await connectThrough('SOCKS5', client.port, await tcpServer(echo)), BYTES);
    const pages = await Promise.all([
      AdminPages.of(inCluster.process, 'relay'),
      AdminPages.of(relay.process, 'relay'),
      AdminPages.of(exit.process, 'exit'),
      AdminPages.of(client.process, 'client'),
    ]);
    const prometheus = await startPrometheus(pages.map(({ port }) => port));
    let seen = 0;
    await expect
      .poll(async () => {
        const found = await prometheus.query('count(up == 1 and on (instance) count_over_time(wstun_ready[1m]) > 1)');
        seen = Number(found[0]?.value[1] ?? 0);
        return seen;
      })
      .toBe(4);
    const empty: string[] = [];
    for (const expression of dashboardExpressions)
      if ((await prometheus.query(expression)).length === 0) empty.push(expression);
    // Those that show only what has happened, and of quantiles those of what has not.
    expect(empty.filter((expression) => !/> 0|histogram_quantile/.test(expression))).toEqual([]);
  });
});
