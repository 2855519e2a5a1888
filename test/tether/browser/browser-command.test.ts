/** What is in the arguments and the environment of a browser, and when it is started again. */
import { describe, expect, it } from 'vitest';
import { type BrowserStart, browserArguments } from '../../../src/tether/browser/browser-command.ts';
import { browserEnvironment } from '../../../src/tether/browser/browser-environment.ts';
import { RestartDelays } from '../../../src/tether/browser/restart-delays.ts';

const START: BrowserStart = {
  browser: { program: '/usr/bin/chromium', family: 'chromium' },
  profile: '/tmp/w/profile-1',
  startFile: '/tmp/w/start.html',
  version: 'Chromium 156.0.8078.114 built on Debian GNU/Linux 12 (bookworm)',
  platform: 'linux',
  isRoot: false,
  pins: [],
  more: ['--proxy-server=http://127.0.0.1:3128'],
};

describe('browserArguments', () => {
  it('Chromium has its sandbox, except where it is started by root', () => {
    expect(browserArguments(START)).not.toContain('--no-sandbox');
    expect(browserArguments({ ...START, isRoot: true })).toContain('--no-sandbox');
  });

  it('Chromium accepts the TLS keys that the invite pins, and no others', () => {
    const args = browserArguments({ ...START, pins: ['AAAA=', 'BBBB='] });
    expect(args).toContain('--ignore-certificate-errors-spki-list=AAAA=,BBBB=');
    expect(browserArguments(START).join(' ')).not.toContain('certificate');
  });

  it('Chromium without a window calls itself what it does with one', () => {
    const agent = (start: Partial<BrowserStart>) =>
      browserArguments({ ...START, ...start }).find((arg) => arg.startsWith('--user-agent='));
    expect(agent({})).toBe(
      '--user-agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36',
    );
    expect(agent({ version: 'Microsoft Edge 155.0.1.2', platform: 'win32' })).toMatch(
      /Windows NT.* Edg\/155\.0\.0\.0$/,
    );
    expect(agent({ version: undefined })).toBeUndefined();
  });

  it('the arguments of the user come after ours, and the page comes last', () => {
    for (const family of ['chromium', 'firefox'] as const) {
      const args = browserArguments({ ...START, browser: { program: 'any', family } });
      expect(args.slice(-2)).toEqual([...START.more, 'file:///tmp/w/start.html']);
    }
  });
});

describe('browserEnvironment', () => {
  it('the proxy and the secrets of this client are left out, and other variables stay', () => {
    const others = { PATH: '/bin', http_proxy: 'http://proxy.corp:3128', no_proxy: 'localhost', HTTPS_PROXY: '' };
    const own = {
      all_proxy: 'socks5h://127.0.0.1:1080',
      ALL_PROXY: 'http://me:secret@localhost:1080/',
      https_proxy: '[::1]:1080',
    };
    const secrets = { WSTUN_INVITE: 'wstun1_x', WSTUN_USER: 'me:secret' };
    expect(browserEnvironment({ ...others, ...own, ...secrets }, 1080)).toEqual(others);
    expect(browserEnvironment(own, 1081)).toEqual(own);
  });
});

describe('RestartDelays', () => {
  it('a browser that dies at once is started twice without a wait, then less and less often', () => {
    const delays = new RestartDelays();
    expect(Array.from({ length: 10 }, () => delays.next(0))).toEqual([
      0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000,
    ]);
    expect(delays.next(60_000)).toBe(0);
  });
});
