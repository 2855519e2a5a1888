import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterEach, describe, expect, it } from 'vitest';
import { addReachOptions } from '../../src/cli/reach-flags.ts';
import { type ReachTexts, reachOptions } from '../../src/cli/reach-options.ts';
import { faultOf } from '../support/faults.ts';
import { tempDir } from '../support/temp-dir.ts';

afterEach(() => {
  delete process.env.WSTUN_HEADERS;
});

const parse = (...args: string[]) =>
  reachOptions(addReachOptions(new Command().exitOverride()).parse(args, { from: 'user' }).opts<ReachTexts>());

describe('options of how the relay is reached', () => {
  it('without any of the options, nothing is chosen', () => {
    expect(parse()).toEqual({});
  });

  it('every option becomes one of the library', () => {
    const files = ['--tls-ca', 'a', '--tls-ca', 'b', '--tls-cert', 'c', '--tls-key', 'k', '--tls-pin', 'p'];
    const names = ['--sni', 'none', '--host', 'h', '--connect-to', '[::1]:443', '--user-agent', 'x'];
    expect(parse(...files, ...names, '--source', 'eth0', '-4', '--prefer', 'ipv4')).toEqual({
      tlsCa: ['a', 'b'],
      tlsPins: ['p'],
      tlsIdentity: { certFile: 'c', keyFile: 'k' },
      sni: 'none',
      hostHeader: 'h',
      connectTo: { host: '::1', port: 443 },
      userAgent: 'x',
      source: 'eth0',
      family: 4,
      preferFamily: 4,
    });
    expect(parse('-6')).toEqual({ family: 6 });
  });

  it('header fields come from arguments, from files and from the environment, which does not keep them', async () => {
    const file = join(await tempDir(), 'fields');
    await writeFile(file, '# of the team\n\nX-Team: one\r\nAuthorization: Basic dGVzdDp0ZXN0\n');
    process.env.WSTUN_HEADERS = 'Cookie: a=b; c=d:e\n';
    expect(parse('--header', `@${file}`, '--header', 'X-Empty:').headers).toEqual({
      Cookie: 'a=b; c=d:e',
      'X-Team': 'one',
      Authorization: 'Basic dGVzdDp0ZXN0',
      'X-Empty': '',
    });
    expect(process.env.WSTUN_HEADERS).toBeUndefined();
  });

  it.each([
    [['--header', 'no colon']],
    [['--header', ': value']],
    [['--header', 'A: 1', '--header', 'A: 2']],
    [['--header', '@/no/such/file']],
    [['-4', '-6']],
    [['--connect-to', 'relay.example']],
  ])('%j are rejected', (args) => {
    expect(faultOf(() => parse(...args))).toBe('bad-option');
  });

  it('a certificate without its key is rejected', () => {
    expect(faultOf(() => parse('--tls-cert', 'a'))).toBe('bad-certificate');
  });
});
