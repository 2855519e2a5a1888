/** Which browser is found on which system. */
import { describe, expect, it } from 'vitest';
import { WstunError } from '../../../src/errors.ts';
import { type BrowserHost, findBrowser } from '../../../src/tether/browser/find-browser.ts';

function host(platform: NodeJS.Platform, programs: readonly string[], env: BrowserHost['env'] = {}): BrowserHost {
  return { platform, env, isProgram: (path) => programs.includes(path) };
}

describe('findBrowser', () => {
  it.each([
    ['linux', ['/usr/bin/firefox', '/usr/bin/chromium'], '/usr/bin/chromium', 'chromium'],
    ['linux', ['/usr/bin/chromium', '/home/me/bin/google-chrome'], '/home/me/bin/google-chrome', 'chromium'],
    ['linux', ['/usr/bin/firefox-esr'], '/usr/bin/firefox-esr', 'firefox'],
    [
      'darwin',
      ['/home/me/Applications/Firefox.app/Contents/MacOS/firefox'],
      '/home/me/Applications/Firefox.app/Contents/MacOS/firefox',
      'firefox',
    ],
    [
      'win32',
      ['C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe'],
      'C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe',
      'chromium',
    ],
  ] as const)('on %s with %j it finds %s', (platform, programs, program, family) => {
    const env = {
      PATH: 'relative:/home/me/bin',
      HOME: '/home/me',
      PROGRAMFILES: 'C:\\Program Files',
      'PROGRAMFILES(X86)': 'C:\\Program Files (x86)',
      LOCALAPPDATA: '',
    };
    expect(findBrowser(undefined, host(platform, programs, env))).toEqual({ program, family });
  });

  it('a path is used as it is, and a name is looked for in PATH', () => {
    const here = host('linux', ['/opt/b/firefox', '/opt/c/mine'], { PATH: '/opt/b:/opt/c' });
    expect(findBrowser('/opt/c/mine', here)).toEqual({ program: '/opt/c/mine', family: 'chromium' });
    expect(findBrowser('firefox', here)).toEqual({ program: '/opt/b/firefox', family: 'firefox' });
  });

  it('a program that is not there is a fault that says so, also where others are', () => {
    const here = host('linux', ['/usr/bin/chromium']);
    const fault = (given: string | undefined, at: BrowserHost) => {
      try {
        return findBrowser(given, at).program;
      } catch (error) {
        return error instanceof WstunError ? error.message : error;
      }
    };
    expect(fault('/nowhere/chrome', here)).toMatch(/there is no program \/nowhere\/chrome.*WSTUN-E141/);
    expect(fault('chromium', here)).toMatch(/WSTUN-E141/);
    expect(fault(undefined, host('linux', []))).toMatch(/no browser was found.*--via-browser=.*WSTUN-E141/);
  });
});
