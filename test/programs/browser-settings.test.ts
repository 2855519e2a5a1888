import { describe, expect, it } from 'vitest';
import { browserCommand, firefoxPreferences } from '../../src/programs/browser-settings.ts';

const WISH = {
  family: 'chromium',
  profile: '/tmp/p',
  proxy: { host: '127.0.0.1', port: 1080 },
  needsPassword: false,
  url: 'http://wstun.internal/',
  isRoot: false,
  more: ['--headless=new'],
} as const;

describe('browserCommand', () => {
  it('Chromium has the proxy, no names but those of this machine, and no UDP', () => {
    const args = browserCommand(WISH);
    expect(args).toContain('--proxy-server=socks5://127.0.0.1:1080');
    expect(args.find((arg) => arg.startsWith('--host-resolver-rules='))).toMatch(
      /=MAP \* ~NOTFOUND , EXCLUDE localhost/,
    );
    expect(args).toContain('--disable-quic');
    expect(args).not.toContain('--no-sandbox');
    expect(args.slice(-2)).toEqual(['--headless=new', 'http://wstun.internal/']);
  });

  it('Chromium resolves the name of a proxy elsewhere, and uses HTTP where it needs a password', () => {
    const args = browserCommand({ ...WISH, proxy: { host: 'nas', port: 1080 }, needsPassword: true, isRoot: true });
    expect(args).toContain('--proxy-server=http://nas:1080');
    expect(args.find((arg) => arg.startsWith('--host-resolver-rules='))).toMatch(/, EXCLUDE nas$/);
    expect(args).toContain('--no-sandbox');
  });

  it('Chromium gets the features to switch off in one argument, those of the user included: it reads only the last', () => {
    const args = browserCommand({
      ...WISH,
      more: ['--disable-features=A,B', '--headless=new', '--disable-features=C'],
    });
    const features = args.filter((arg) => arg.startsWith('--disable-features='));
    expect(features).toEqual([expect.stringMatching(/=MediaRouter,.*,WebRtcHideLocalIpsWithMdns,A,B,C$/)]);
    expect(args).toContain('--headless=new');
  });

  it('Firefox has its proxy by its profile, and falls back to nothing', () => {
    expect(browserCommand({ ...WISH, family: 'firefox' }).slice(0, 3)).toEqual(['--no-remote', '--profile', '/tmp/p']);
    const text = firefoxPreferences(WISH);
    expect(text).toContain('user_pref("network.proxy.socks", "127.0.0.1");\n');
    expect(text).toContain('user_pref("network.proxy.socks_remote_dns", true);\n');
    expect(text).toContain('user_pref("network.proxy.failover_direct", false);\n');
    expect(firefoxPreferences({ ...WISH, needsPassword: true })).toContain(
      'user_pref("network.proxy.ssl_port", 1080);\n',
    );
  });
});
