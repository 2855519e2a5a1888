/**
 * Real programs, and plain datagrams, over SOCKS5 UDP ASSOCIATE and through a relay. libtorrent is in a file of its own.
 * @module-tag waits
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { datagramHeader } from '../../src/proxy/udp/datagram-header.ts';
import { runDatagrams, udpEcho } from '../support/net/datagram-run.ts';
import { startDnsServer } from '../support/net/dns-server.ts';
import { ipTarget } from '../support/net/targets.ts';
import { runWell } from '../support/programs/programs.ts';
import { startStack } from '../support/programs/wstun-stack.ts';
import { dial, take } from '../support/proxy/through-proxy.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';

const GREETED_GRANTED = 12;

/** The configuration of dante's client: everything goes through the proxy, loopback too. */
async function socksifyEnv(port: number): Promise<Record<string, string>> {
  const file = join(await tempDir(), 'socks.conf');
  const lines = [
    `from: 0.0.0.0/0 to: 0.0.0.0/0 via: 127.0.0.1 port = ${port}`,
    'proxyprotocol: socks_v5',
    'protocol: tcp udp',
    'method: none',
  ];
  await writeFile(file, `route {\n${lines.join('\n')}\n}\n`);
  return { SOCKS_CONF: file, SOCKS_AUTOADD_LANROUTES: 'no', SOCKS_DIRECTROUTE_FALLBACK: 'no' };
}

describe('UDP over SOCKS5, through a relay', () => {
  // Not dig: its libuv sends by sendmmsg(2), which dante does not catch.
  it('drill asks a name server at the exit, by the socksify of dante', async () => {
    const { client } = await startStack();
    const dns = await startDnsServer({ 'site.example.net': { addresses: ['203.0.113.10'] } });
    atEnd(() => dns.close());
    const [host = '', port = ''] = dns.address.split(':');
    const args = ['drill', '-p', port, `@${host}`, 'site.example.net', 'A'];
    const answer = await runWell('socksify', args, { env: await socksifyEnv(client.port) });
    expect(answer).toMatch(/^site\.example\.net\.\s.*\sA\s+203\.0\.113\.10$/m);
    expect(dns.questions).toContain('A site.example.net');
  });

  it('10,000 datagrams each way over UDP ASSOCIATE: none is corrupted, and they keep their order', async () => {
    const { client } = await startStack();
    const echo = await udpEcho();
    const socks = await dial(client.port);
    socks.write(Uint8Array.of(5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0));
    const port = (await take(socks, GREETED_GRANTED)).readUInt16BE(10);
    const header = datagramHeader(ipTarget('127.0.0.1', echo.port));
    const outcome = await runDatagrams({ port, header, count: 10_000, seed: 1 });
    expect(outcome.wrong).toBe(0);
    expect(outcome.answered).toBeGreaterThan(9_900);
  });
});
