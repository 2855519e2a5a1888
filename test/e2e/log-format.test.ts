/**
 * What a program reads of a running wstun: events on stdout, each with its time and the last one always there, and lines
 * on stderr.
 */
import { describe, expect, it } from 'vitest';
import { closedPort } from '../support/net/tcp.ts';
import { linesWith, WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import { invite, spawnClient, startBehindRelay, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

function expectWhole(of: WstunProcess): void {
  expect(of.events.map(({ time }) => String(time)).filter((time) => !ISO.test(time))).toEqual([]);
  expect(of.events.filter(({ event }) => event === 'ended')).toHaveLength(1);
  for (const line of of.stdout.trim().split('\n')) expect(JSON.parse(line)).toHaveProperty('event');
  for (const line of of.stderr.split('\n').filter(Boolean)) expectLogged(line);
}

function expectLogged(line: string): void {
  const { level, time, msg } = JSON.parse(line) as Record<string, unknown>;
  expect([level, time, msg]).toEqual([
    expect.stringMatching(/^(debug|info|warn|error)$/),
    expect.stringMatching(ISO),
    expect.any(String),
  ]);
}

describe('--json', () => {
  it('client, relay and exit end with the event "ended" after a signal, and after a second one', async () => {
    const { relay, exit } = await startBehindRelay();
    const client = await startClient(await invite(exit, 'alice'));
    for (const { process } of [client, exit, relay]) {
      process.signal('SIGTERM');
      expect(await process.exited).toBe(0);
      expect(process.events.at(-1)).toMatchObject({ event: 'ended', code: null, signal: 'SIGTERM' });
      expectWhole(process);
    }
    const other = await startRelay();
    other.process.signal('SIGINT');
    other.process.signal('SIGINT');
    await other.process.exited;
    expect(other.process.events.at(-1)).toMatchObject({ event: 'ended', code: null, signal: 'SIGINT' });
  });

  it('client, relay and exit end with the code of the fault that keeps them from starting', async () => {
    const state = await tempDir();
    for (const [args, code] of [
      [['client', 'nonsense'], 'WSTUN-E105'],
      [['client'], 'WSTUN-E108'],
      [['relay', '--state', state, '--listen', '192.0.2.1:80'], 'WSTUN-E104'],
      [['exit', 'nonsense', '--state', state], 'WSTUN-E105'],
    ] as const) {
      const { stdout, stderr } = await wstun([...args, '--json']);
      expect(stdout.trim().split('\n')).toHaveLength(1);
      expect(JSON.parse(stdout)).toMatchObject({ event: 'ended', code, message: expect.stringContaining(code) });
      expect(stderr.trim().split('\n')).toHaveLength(1);
      expectLogged(stderr);
      expect(JSON.parse(stderr)).toMatchObject({ level: 'error', code });
    }
  });

  it('a client that gives up ends with the code of the fault, said once', async () => {
    const relay = await startRelay();
    const secret = await invite(relay, 'alice', { url: `ws://127.0.0.1:${await closedPort()}` });
    const client = spawnClient(secret, { args: ['--once'] });
    expect(await client.exited).toBe(69);
    expect(client.events.at(-1)).toMatchObject({ event: 'ended', code: 'WSTUN-E201' });
    expect(linesWith(client, 'WSTUN-E201')).toHaveLength(1);
    expectWhole(client);
  });
});

describe('stderr', () => {
  it('with --log-format json, all lines on stderr are JSON with a level and a time, our own sentences too', async () => {
    const relay = await startRelay();
    const secret = await invite(relay, 'alice');
    const client = new WstunProcess(['client', '--listen', '127.0.0.1:0', '--log-format', 'json', '-v'], {
      env: { WSTUN_INVITE: secret },
    });
    await until(() => client.stderr.includes('"msg":"ready: SOCKS5'), 10_000);
    relay.process.signal('SIGTERM');
    await relay.process.exited;
    await until(() => client.stderr.includes('WSTUN-E201'), 20_000);
    client.signal('SIGINT');
    expect(await client.exited).toBe(0);
    expect(client.stdout).toBe('');
    const lines = client.stderr.trim().split('\n');
    for (const line of lines) expectLogged(line);
    expect(lines.at(-1)).toContain('"msg":"ended by SIGINT"');
  });

  it('without a terminal each change of state is a line with its time, and the last one is there', async () => {
    const relay = await startRelay();
    const secret = await invite(relay, 'alice');
    const client = new WstunProcess(['client', '--listen', '127.0.0.1:0'], { env: { WSTUN_INVITE: secret } });
    await until(() => client.stderr.includes('Press Ctrl-C to stop'), 10_000);
    relay.process.signal('SIGTERM');
    await relay.process.exited;
    await until(() => client.stderr.includes('WSTUN-E201'), 20_000);
    client.signal('SIGINT');
    expect(await client.exited).toBe(0);
    const lines = client.stderr.trim().split('\n');
    expect(lines.filter((line) => /^\S+Z wstun: /.test(line)).length).toBeGreaterThan(2);
    expect(lines.at(-1)).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z wstun: ended by SIGINT$/);
    expect(client.stderr).not.toContain('\u001b');
  });

  it('--quiet prints nothing but what is wrong', async () => {
    const relay = await startRelay();
    const secret = await invite(relay, 'alice');
    const client = new WstunProcess(['client', '--listen', '127.0.0.1:0', '-q'], { env: { WSTUN_INVITE: secret } });
    await until(() => relay.process.stderr.includes('session started'), 10_000);
    relay.process.signal('SIGTERM');
    await relay.process.exited;
    await until(() => client.stderr.includes('WSTUN-E201'), 20_000);
    client.signal('SIGINT');
    await client.exited;
    const lines = client.stderr.trim().split('\n');
    expect(lines.filter((line) => !line.includes('WSTUN-E'))).toEqual([]);
    expect(await wstun(['client', '-q', '-v'])).toMatchObject({ code: 2 });
  });
});
