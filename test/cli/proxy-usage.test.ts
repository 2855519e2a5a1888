/** @module-tag waits */
import type { NetworkInterfaceInfo } from 'node:os';
import { expect, it } from 'vitest';
import { reachableHost } from '../../src/app/own-address.ts';
import { describeProxy } from '../../src/cli/proxy-usage.ts';
import { runWell } from '../support/programs/programs.ts';

const LOOPBACK = { host: '127.0.0.1', port: 1080 };

function commandsIn(text: string): string[] {
  return text.split('\n').flatMap((line) => /^ {2}((?:curl|chromium|export) .*)$/.exec(line)?.[1] ?? []);
}

it('each command that shows how to use the proxy has a line of its own', () => {
  const commands = commandsIn(describeProxy(LOOPBACK, { address: LOOPBACK }));
  expect(commands).toEqual([
    'curl -x socks5h://127.0.0.1:1080 https://example.org/',
    'chromium --user-data-dir=/tmp/wstun-browser --proxy-server=socks5://127.0.0.1:1080',
    'export ALL_PROXY=socks5h://127.0.0.1:1080',
    'export http_proxy=http://127.0.0.1:1080',
    'export https_proxy=http://127.0.0.1:1080',
    'export HTTP_PROXY=http://127.0.0.1:1080',
    'export HTTPS_PROXY=http://127.0.0.1:1080',
    'export no_proxy=localhost,127.0.0.1,::1',
    'export NO_PROXY=localhost,127.0.0.1,::1',
  ]);
});

it('with a password, the commands have a placeholder for it, and browsers use HTTP, which supports passwords', () => {
  const text = describeProxy(
    { host: '0.0.0.0', port: 1083 },
    { address: { host: '192.168.7.5', port: 1083 }, user: 'me' },
  );
  expect(text).toContain('on 0.0.0.0:1083, for other machines at 192.168.7.5:1083');
  const commands = commandsIn(text);
  expect(commands).toContain('curl -x socks5h://me:PASSWORD@192.168.7.5:1083 https://example.org/');
  expect(commands.find((line) => line.startsWith('chromium'))).toMatch(/ --proxy-server=http:\/\/192\.168\.7\.5:1083$/);
  expect(text).toContain('HTTP proxy 192.168.7.5, port 1083');
  expect(commands.join()).not.toContain('0.0.0.0');
});

it.each(['me@work', "o'neil", 'a b', '$(id)', 'ü', 'a/b#c'])(
  'a user %j is one word of a URL and of a shell',
  async (user) => {
    const [curl = ''] = commandsIn(describeProxy(LOOPBACK, { address: LOOPBACK, user }));
    const words = await runWell('sh', ['-c', `printf '%s\\n' ${curl}`]);
    const url = new URL(words.split('\n')[2] ?? '');
    expect([decodeURIComponent(url.username), url.password, url.host]).toEqual([user, 'PASSWORD', '127.0.0.1:1080']);
  },
);

it('an IPv6 address of the proxy is in brackets, and quoted because shells treat brackets as a pattern', () => {
  const address = { host: '::1', port: 1080 };
  const text = describeProxy(address, { address });
  expect(commandsIn(text)[0]).toBe("curl -x 'socks5h://[::1]:1080' https://example.org/");
  expect(commandsIn(text)[1]).toContain("'--proxy-server=socks5://[::1]:1080'");
  expect(text).toContain('SOCKS v5 host ::1, port 1080');
});

it('a proxy that listens on all addresses is shown with one that other machines reach', () => {
  const info = (address: string, family: 'IPv4' | 'IPv6', internal = false) =>
    ({ address, family, internal }) as NetworkInterfaceInfo;
  const all = [
    info('127.0.0.1', 'IPv4', true),
    info('fe80::1', 'IPv6'),
    info('2001:db8::5', 'IPv6'),
    info('192.168.7.5', 'IPv4'),
  ];
  expect(reachableHost('0.0.0.0', all)).toBe('192.168.7.5');
  expect(reachableHost('::', all)).toBe('192.168.7.5');
  expect(reachableHost('::', all.slice(0, 3))).toBe('2001:db8::5');
  expect(reachableHost('0.0.0.0', all.slice(0, 3))).toBe('127.0.0.1');
  expect(reachableHost('127.0.0.2', all)).toBe('127.0.0.2');
});
