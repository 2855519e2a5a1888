import { describe, expect, it } from 'vitest';
import { ENVIRONMENT_NAMES, proxyEnvironment, withProxy } from '../../src/programs/proxy-environment.ts';
import { proxyInEnvironment } from '../../src/transport/proxy/proxy-environment.ts';

const AT = { address: { host: '127.0.0.1', port: 1080 } };

describe('proxyEnvironment', () => {
  it('has SOCKS for programs that know it, and HTTP by scheme for all others, in both spellings', () => {
    expect(proxyEnvironment(AT)).toEqual({
      ALL_PROXY: 'socks5h://127.0.0.1:1080',
      all_proxy: 'socks5h://127.0.0.1:1080',
      HTTP_PROXY: 'http://127.0.0.1:1080',
      http_proxy: 'http://127.0.0.1:1080',
      HTTPS_PROXY: 'http://127.0.0.1:1080',
      https_proxy: 'http://127.0.0.1:1080',
      NO_PROXY: 'localhost,127.0.0.1,::1',
      no_proxy: 'localhost,127.0.0.1,::1',
      NODE_USE_ENV_PROXY: '1',
      WSTUN_ENV: '127.0.0.1:1080',
    });
    expect(Object.keys(proxyEnvironment({ ...AT, socks: false })).join()).not.toMatch(/all_proxy/i);
  });

  it('a user name and a password of any characters are read from the URLs as they are', () => {
    const credentials = { user: "o'neil (ü)", pass: 'a:b@c/d#e?f!*' };
    const { HTTPS_PROXY = '', ALL_PROXY = '' } = proxyEnvironment({ address: { host: '::1', port: 1 }, credentials });
    for (const text of [HTTPS_PROXY, ALL_PROXY]) {
      expect(text).toMatch(/^[\w:/.%@[\]-]+$/);
      const { username, password, host } = new URL(text);
      expect([decodeURIComponent(username), decodeURIComponent(password), host]).toEqual([
        credentials.user,
        credentials.pass,
        '[::1]:1',
      ]);
    }
  });

  it('wstun takes these variables for no way to its relay, and others for one', () => {
    const relay = new URL('wss://relay.example.org/');
    for (const use of [AT, { ...AT, credentials: { user: 'a', pass: 'b@c' } }])
      expect(proxyInEnvironment(relay, proxyEnvironment(use))).toBeUndefined();
    const other = { ...proxyEnvironment(AT), https_proxy: 'http://proxy.corp.example:3128' };
    expect(proxyInEnvironment(relay, other)?.text).toBe('http://proxy.corp.example:3128');
    expect(ENVIRONMENT_NAMES).toContain('WSTUN_ENV');
  });
});

describe('withProxy', () => {
  it('replaces other proxies, comes before those of configuration files, and keeps secrets to itself', () => {
    const before = {
      ...{ PATH: '/bin', FTP_PROXY: 'x', all_proxy: 'y', https_proxy: 'z', WSTUN_INVITE: 's', WSTUN_USER: 's' },
      ...{ WSTUN_STATE: '/s', npm_config_proxy: 'z', GIT_CONFIG_COUNT: '1' },
    };
    const env = withProxy(before, { ...AT, socks: false });
    expect(env).toMatchObject({ PATH: '/bin', WSTUN_STATE: '/s', https_proxy: 'http://127.0.0.1:1080' });
    expect(env).toMatchObject({ npm_config_proxy: 'http://127.0.0.1:1080', PIP_PROXY: 'http://127.0.0.1:1080' });
    expect(Object.keys(env)).not.toContain('WSTUN_INVITE');
    expect(Object.keys(env)).not.toContain('WSTUN_USER');
    expect(Object.keys(env)).not.toContain('FTP_PROXY');
    expect(env.all_proxy).toBeUndefined();
    expect(env).toMatchObject({
      GIT_CONFIG_COUNT: '2',
      GIT_CONFIG_KEY_1: 'http.proxy',
      GIT_CONFIG_VALUE_1: 'http://127.0.0.1:1080',
    });
  });
});
