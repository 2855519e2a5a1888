/**
 * The client's name server (`--dns-listen`) in front of a relay whose exit asks a name server of the test: with dig, as
 * users look.
 */
import type packet from 'dns-packet';
import { beforeAll, describe, expect, it } from 'vitest';
import { type RecordServer, startRecordServer } from '../support/net/record-server.ts';
import { PATIENCE } from '../support/patience.ts';
import { run, runWell } from '../support/programs/programs.ts';
import type { WstunProcess } from '../support/programs/wstun-process.ts';
import { invite, type RunningRelay, spawnClient, startRelay } from '../support/programs/wstun-stack.ts';

const NAME = 'all.wstun.example';
const text = (length: number): Buffer[] =>
  Array.from({ length: Math.ceil(length / 255) }, () => Buffer.alloc(255, 'x'));
const record = <T extends object>(type: string, data: T | string, name = NAME, ttl = 300): packet.Answer =>
  ({ type, name, ttl, data }) as packet.Answer;
/** Priority 1, the same name, ALPN h2. */
const HTTPS = Buffer.from('000100000100030268 32'.replaceAll(' ', ''), 'hex');

const ZONE = {
  [NAME]: [
    record('A', '93.184.216.34'),
    record('AAAA', '2606:2800:220:1::1'),
    record('TXT', [Buffer.from('some text')]),
    record('MX', { preference: 10, exchange: 'mail.wstun.example' }),
    record('SRV', { priority: 1, weight: 2, port: 443, target: 'srv.wstun.example' }),
    record('UNKNOWN_65', HTTPS),
    record('CAA', { flags: 0, tag: 'issue', value: 'ca.example', issuerCritical: false }),
  ],
  '34.216.184.93.in-addr.arpa': [record('PTR', 'all.wstun.example', '34.216.184.93.in-addr.arpa')],
  'long.wstun.example': [record('TXT', text(2_000), 'long.wstun.example')],
  'longest.wstun.example': [record('TXT', text(64_000), 'longest.wstun.example')],
  'alias.wstun.example': [record('CNAME', NAME, 'alias.wstun.example'), record('A', '93.184.216.34')],
  'short.wstun.example': [record('A', '93.184.216.35', 'short.wstun.example', 2)],
  'failing.wstun.example': 'SERVFAIL',
  'private.wstun.example': [record('A', '10.0.0.5', 'private.wstun.example')],
} as const;

let upstream: RecordServer;
let relay: RunningRelay;
let client: WstunProcess;
let port: string;

beforeAll(async () => {
  upstream = await startRecordServer(ZONE);
  relay = await startRelay({ args: ['--dns', upstream.address] });
  client = spawnClient(await invite(relay, 'tester', { allow: ['*'] }), { args: ['--dns-listen', '127.0.0.1:0'] });
  const { listen } = await client.event('dns-listening');
  await client.event('ready');
  port = String(listen).replace(/^.*:/, '');
});

async function dig(...args: readonly string[]): Promise<string> {
  return await runWell('dig', ['@127.0.0.1', '-p', port, '+tries=1', '+time=10', ...args]);
}

async function eventually(holds: () => Promise<boolean>, limitMs: number): Promise<void> {
  const deadline = performance.now() + limitMs * PATIENCE;
  while (!(await holds())) expect(performance.now()).toBeLessThan(deadline);
}

const short = async (...args: readonly string[]): Promise<string> => (await dig('+short', ...args)).trim();
const statusOf = (output: string): string => /status: (\w+)/.exec(output)?.[1] ?? output;

describe('wstun client --dns-listen', () => {
  it.each([['+notcp'], ['+tcp']])('dig %s gets records of every type', async (over) => {
    const answers = await Promise.all(
      [['A'], ['AAAA'], ['TXT'], ['MX'], ['SRV'], ['CAA'], ['TYPE65']].map((type) => short(over, NAME, ...type)),
    );
    expect(answers).toEqual([
      '93.184.216.34',
      '2606:2800:220:1::1',
      '"some text"',
      '10 mail.wstun.example.',
      '1 2 443 srv.wstun.example.',
      '0 issue "ca.example"',
      expect.stringMatching(/^(1 \. alpn="h2"|\\# .*)$/),
    ]);
    expect(await short(over, '-x', '93.184.216.34')).toBe('all.wstun.example.');
    expect(await short(over, 'alias.wstun.example')).toBe('all.wstun.example.\n93.184.216.34');
  });

  it('dig gets a long answer by TCP after a truncated one, and 64 KiB of TXT', async () => {
    const truncated = await dig('+ignore', '+noedns', 'long.wstun.example', 'TXT');
    expect(truncated).toMatch(/flags:[^;]* tc[ ;]/);
    expect((await short('long.wstun.example', 'TXT')).replaceAll(/[" ]/g, '')).toHaveLength(8 * 255);
    expect((await short('longest.wstun.example', 'TXT')).replaceAll(/[" ]/g, '')).toHaveLength(251 * 255);
    expect(await short('+bufsize=4096', '+ignore', 'long.wstun.example', 'TXT')).toContain('x');
  });

  it('dig is told the truth: NXDOMAIN, no such record, SERVFAIL, NOTIMP', async () => {
    expect(statusOf(await dig('nothing.wstun.example'))).toBe('NXDOMAIN');
    const none = await dig('34.216.184.93.in-addr.arpa', 'A');
    expect([statusOf(none), /ANSWER: (\d+)/.exec(none)?.[1]]).toEqual(['NOERROR', '0']);
    expect(statusOf(await dig('failing.wstun.example'))).toBe('SERVFAIL');
    expect(await dig(NAME, 'ANY')).toContain('RFC8482');
    expect(statusOf(await dig('+opcode=STATUS', NAME))).toBe('NOTIMP');
  });

  it('dig is told REFUSED for what the rules of the invite do not allow', async () => {
    const bound = spawnClient(await invite(relay, 'bound'), { args: ['--dns-listen', '127.0.0.1:0'] });
    const { listen } = await bound.event('dns-listening');
    await bound.event('ready');
    const at = ['@127.0.0.1', '-p', String(listen).replace(/^.*:/, ''), '+tries=1', '+time=10'];
    expect(statusOf(await runWell('dig', [...at, 'private.wstun.example']))).toBe('REFUSED');
    expect(statusOf(await runWell('dig', [...at, NAME]))).toBe('NOERROR');
    expect(await short('private.wstun.example')).toBe('10.0.0.5');
  });

  it('an answer is asked for once, kept, and asked for again when it has expired', async () => {
    const asked = () => upstream.questions.filter((line) => line.startsWith('A short.')).length;
    await Promise.all(Array.from({ length: 20 }, () => short('short.wstun.example')));
    expect(asked()).toBe(1);
    await eventually(async () => (await short('short.wstun.example')) !== '' && asked() > 1, 10_000);
    const before = upstream.questions.length;
    for (let i = 0; i < 3; i++) expect(statusOf(await dig('never.wstun.example'))).toBe('NXDOMAIN');
    expect(upstream.questions.length).toBe(before + 1);
  });

  it('programs get SERVFAIL in less than 5 s without a session, and answers as soon as there is one again', async () => {
    const own = await startRelay({ args: ['--dns', upstream.address] });
    const other = spawnClient(await invite(own, 'home', { allow: ['*'] }), { args: ['--dns-listen', '127.0.0.1:0'] });
    const { listen } = await other.event('dns-listening');
    await other.event('ready');
    const at = ['@127.0.0.1', '-p', String(listen).replace(/^.*:/, ''), '+tries=1', '+time=10', NAME];
    own.process.signal('SIGKILL');
    await own.process.exited;
    const since = performance.now();
    expect(statusOf(await runWell('dig', at))).toBe('SERVFAIL');
    expect(performance.now() - since).toBeLessThan(5_000);
    await startRelay({ args: ['--dns', upstream.address], state: own.state, port: own.port });
    await eventually(async () => statusOf((await run('dig', at)).stdout) === 'NOERROR', 30_000);
  });

  it('an address that others can reach needs --allow-lan', async () => {
    const secret = await invite(relay, 'open');
    const open = spawnClient(secret, { args: ['--dns-listen', '0.0.0.0:0'] });
    expect(await open.exited).toBe(2);
    expect(open.stderr).toMatch(/WSTUN-E103/);
    const allowed = spawnClient(secret, { args: ['--dns-listen', '0.0.0.0:0', '--allow-lan'] });
    expect(await allowed.event('dns-listening')).toMatchObject({ listen: expect.stringMatching(/^0\.0\.0\.0:/) });
  });
});
