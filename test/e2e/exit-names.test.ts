/** Names that programs ask of a client's name server, as the exit answers them: dig asks, dnsmasq is the exit's. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { PATIENCE } from '../support/patience.ts';
import { freePort, run, startServer } from '../support/programs/programs.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import { invite, type RunningRelay, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { tempDir } from '../support/temp-dir.ts';

const WAIT = { timeout: 10_000 * PATIENCE, interval: 100 };

const LONG = Array.from(
  { length: 60 },
  (_, index) => `txt-record=long.example.org,"${String(index).padStart(240, 'x')}"`,
);
const RECORDS = [
  'host-record=www.example.org,1.1.1.1,2606:4700::1111',
  'host-record=nas.example.org,10.1.2.3',
  'cname=alias.example.org,www.example.org',
  'txt-record=example.org,"v=spf1 -all"',
  'mx-host=example.org,www.example.org,10',
  'srv-host=_ldap._tcp.example.org,www.example.org,389',
  'ptr-record=8.8.8.8.in-addr.arpa,dns.example.org',
  'ptr-record=3.2.1.10.in-addr.arpa,nas.example.org',
  'caa-record=example.org,0,issue,ca.example.org',
  ...LONG,
];

describe('a client’s name server', () => {
  let port = 0;
  let relay: RunningRelay;

  /** What dig prints: the code of the answer, and its records without their TTLs. */
  async function dig(...question: string[]): Promise<{ code: string; records: string[] }> {
    const asked = [
      '@127.0.0.1',
      '-p',
      String(port),
      '+time=6',
      '+tries=1',
      '+noall',
      '+comments',
      '+answer',
      ...question,
    ];
    const { stdout } = await run('dig', asked, { limitMs: 20_000 });
    const code = /status: (\w+)/.exec(stdout)?.[1] ?? stdout;
    const records = stdout.split('\n').filter((line) => line !== '' && !line.startsWith(';'));
    return { code, records: records.map((line) => line.replace(/\s+\d+\s+IN\s+/, ' ').replace(/\t/g, ' ')) };
  }

  beforeAll(async () => {
    const [dnsPort, directory] = [await freePort(), await tempDir()];
    const config = join(directory, 'dnsmasq.conf');
    const fixed = ['no-resolv', 'no-hosts', 'no-daemon', 'bind-interfaces', 'listen-address=127.0.0.1'];
    await writeFile(config, [...fixed, `port=${dnsPort}`, 'local=/#/', ...RECORDS].join('\n'));
    await startServer('dnsmasq', [`--conf-file=${config}`], dnsPort);
    relay = await startRelay({ args: ['--dns', `127.0.0.1:${dnsPort}`] });
    port = await freePort();
    await startClient(await invite(relay, 'alice'), { args: ['--dns-listen', `127.0.0.1:${port}`] });
  });

  it.each<[string[], string[]]>([
    [['www.example.org', 'A'], ['www.example.org. A 1.1.1.1']],
    [['www.example.org', 'AAAA'], ['www.example.org. AAAA 2606:4700::1111']],
    [
      ['alias.example.org', 'A'],
      ['alias.example.org. CNAME www.example.org.', 'www.example.org. A 1.1.1.1'],
    ],
    [['example.org', 'TXT'], ['example.org. TXT "v=spf1 -all"']],
    [['example.org', 'MX'], ['example.org. MX 10 www.example.org.']],
    [['_ldap._tcp.example.org', 'SRV'], ['_ldap._tcp.example.org. SRV 0 0 389 www.example.org.']],
    [['example.org', 'CAA'], ['example.org. CAA 0 issue "ca.example.org"']],
    [['-x', '8.8.8.8'], ['8.8.8.8.in-addr.arpa. PTR dns.example.org.']],
    [['+tcp', 'www.example.org', 'A'], ['www.example.org. A 1.1.1.1']],
  ])('answers %j', async (question, records) => {
    expect(await dig(...question)).toEqual({ code: 'NOERROR', records });
  });

  it('answers what fits into no datagram, over TCP on both sides', async () => {
    const { code, records } = await dig('long.example.org', 'TXT');
    expect({ code, count: records.length }).toEqual({ code: 'NOERROR', count: LONG.length });
  });

  it.each<[string[], string]>([
    [['no.example.org', 'A'], 'NXDOMAIN'],
    [['www.example.org', 'SRV'], 'NOERROR'],
    [['nas.example.org', 'A'], 'REFUSED'],
    [['printer.local', 'A'], 'REFUSED'],
    [['-x', '10.1.2.3'], 'REFUSED'],
  ])('says truly of %j: %s', async (question, code) => {
    expect(await dig(...question)).toEqual({ code, records: [] });
  });

  it('answers with a private address once a rule opens it', async () => {
    const changed = await wstun(['access', 'set', 'alice', '--allow', '10.0.0.0/8:445', '--state', relay.state]);
    expect(changed).toMatchObject({ code: 0 });
    const found = { code: 'NOERROR', records: ['nas.example.org. A 10.1.2.3'] };
    await vi.waitFor(async () => expect(await dig('nas.example.org', 'A')).toEqual(found), WAIT);
    expect(await dig('-x', '10.1.2.3')).toMatchObject({ records: ['3.2.1.10.in-addr.arpa. PTR nas.example.org.'] });
  });
});
