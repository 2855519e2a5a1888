/** With which arguments a browser is started that shows no window, and what is in its fresh profile. Pure. */
import { pathToFileURL } from 'node:url';
import type { FoundBrowser } from './find-browser.ts';

export interface BrowserStart {
  readonly browser: FoundBrowser;
  /** A folder that nobody else can read. */
  readonly profile: string;
  /** The start file: its address is no secret, its content is. */
  readonly startFile: string;
  /** What `--version` prints; undefined: not known. */
  readonly version: string | undefined;
  readonly platform: NodeJS.Platform;
  /** Chromium's sandbox does not work for root. */
  readonly isRoot: boolean;
  /** Of the relay's TLS keys: base64 of the SHA-256 of each. Only Chromium can be told. */
  readonly pins: readonly string[];
  /** Of the user, after ours. */
  readonly more: readonly string[];
}

/**
 * Nothing that asks a person or slows a page that nobody sees, and little that calls its maker. What decides how it
 * connects is left as it is: proxies, policies, certificates, and its TLS.
 */
const CHROMIUM = [
  '--headless=new',
  // It ends when this pipe closes, so it cannot outlive a client that is killed.
  '--remote-debugging-pipe',
  '--no-first-run',
  '--no-default-browser-check',
  '--disable-crash-reporter',
  '--disable-breakpad',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--allow-browser-signin=false',
  '--disable-default-apps',
  '--metrics-recording-only',
  '--disable-features=OptimizationHints,NetworkTimeServiceQuerying,MediaRouter',
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
  '--password-store=basic',
  '--mute-audio',
  '--disable-gpu',
] as const;

/** What a browser of that system says of it, whatever its version (the User-Agent reduction of Chromium). */
const SYSTEMS: Readonly<Partial<Record<NodeJS.Platform, string>>> = {
  linux: 'X11; Linux x86_64',
  darwin: 'Macintosh; Intel Mac OS X 10_15_7',
  win32: 'Windows NT 10.0; Win64; x64',
};

export function browserArguments(start: BrowserStart): readonly string[] {
  const { browser, profile, startFile, pins, more, isRoot } = start;
  const page = pathToFileURL(startFile).href;
  if (browser.family === 'firefox') return ['--headless', '--no-remote', '--profile', profile, ...more, page];
  const agent = userAgent(start);
  return [
    ...CHROMIUM,
    `--user-data-dir=${profile}`,
    ...(isRoot ? ['--no-sandbox'] : []),
    ...(pins.length === 0 ? [] : [`--ignore-certificate-errors-spki-list=${pins.join(',')}`]),
    ...(agent === undefined ? [] : [`--user-agent=${agent}`]),
    ...more,
    page,
  ];
}

/** Without a window it would call itself HeadlessChrome. Undefined: its version or system is not known. */
function userAgent({ version = '', platform }: BrowserStart): string | undefined {
  const [, major] = /\b(\d{2,4})\.\d+\.\d+\.\d+/.exec(version) ?? [];
  const system = SYSTEMS[platform];
  if (major === undefined || system === undefined) return undefined;
  const edge = /edge/i.test(version) ? ` Edg/${major}.0.0.0` : '';
  return `Mozilla/5.0 (${system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${major}.0.0.0 Safari/537.36${edge}`;
}

/** `user.js` of a fresh profile of Firefox. */
export const FIREFOX_PREFERENCES = Object.entries({
  'app.update.enabled': false,
  'app.normandy.enabled': false,
  'browser.aboutwelcome.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'browser.startup.page': 0,
  'browser.sessionstore.resume_from_crash': false,
  'datareporting.healthreport.uploadEnabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'dom.min_background_timeout_value': 4,
  'toolkit.telemetry.enabled': false,
  'toolkit.telemetry.reportingpolicy.firstRun': false,
})
  .map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`)
  .join('');
