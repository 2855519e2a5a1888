import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHostsFile, parseHosts } from '../../src/exit/hosts-file.ts';
import { formatIp, type IpBytes } from '../../src/net/ip.ts';

const texts = (addresses: readonly IpBytes[] | undefined) => addresses?.map(formatIp);

describe('a hosts file', () => {
  let dir = '';
  let path = '';
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'wstun-hosts-'));
    path = join(dir, 'hosts');
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it('the hosts file maps names of any case to all their addresses, and skips comments and other lines', () => {
    const hosts = parseHosts(
      [
        '# comment',
        '127.0.0.1\tlocalhost  # trailing',
        '10.0.0.7 MyHost myhost.corp.example\r',
        '  fd00::7   myhost',
        '127.1 wrong',
        'fe80::1%lo0 zoned',
        'junk',
        '10.0.0.8',
      ].join('\n'),
    );
    expect(texts(hosts.get('myhost'))).toEqual(['10.0.0.7', 'fd00::7']);
    expect(texts(hosts.get('myhost.corp.example'))).toEqual(['10.0.0.7']);
    expect([...hosts.keys()]).toEqual(['localhost', 'myhost', 'myhost.corp.example']);
  });

  it('the hosts file is read again after a change, but checked only every 5 s', () => {
    let now = 0;
    const hosts = createHostsFile(path, () => now);
    expect(hosts.lookup('a')).toBeUndefined();
    writeFileSync(path, '10.0.0.1 a\n');
    now = 4_999;
    expect(hosts.lookup('a')).toBeUndefined();
    now = 5_000;
    expect(texts(hosts.lookup('a'))).toEqual(['10.0.0.1']);
    writeFileSync(path, '10.0.0.22 a\n');
    now = 10_000;
    expect(texts(hosts.lookup('a'))).toEqual(['10.0.0.22']);
    rmSync(path);
    now = 15_000;
    expect(hosts.lookup('a')).toBeUndefined();
  });

  it('a hosts file of more than 1 MiB, a directory, or one that cannot be read counts as empty', () => {
    writeFileSync(path, `10.0.0.1 a\n${'#'.repeat(1024 * 1024)}\n`);
    expect(createHostsFile(path, () => 0).lookup('a')).toBeUndefined();
    expect(createHostsFile(dir, () => 0).lookup('a')).toBeUndefined();
    expect(createHostsFile(join(path, 'below-a-file'), () => 0).lookup('a')).toBeUndefined();
  });
});
