/** `wstun browser`: a browser with a profile of its own, through the proxy, for as long as a person uses it. */
import { mkdir, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { WstunError } from '../errors.ts';
import { formatHostPort } from '../net/host-port.ts';
import { BrowserRun } from '../programs/browser-run.ts';
import { browserCommand, firefoxPreferences } from '../programs/browser-settings.ts';
import { OWN_HOST } from '../proxy/own-answers.ts';
import { defaultStateDir } from '../state/default-dir.ts';
import { fileReason } from '../state/state-dir.ts';
import { type FoundBrowser, findBrowser, SYSTEM_BROWSERS } from '../tether/browser/find-browser.ts';
import { PrivateFolder } from '../tether/browser/private-folder.ts';
import { reports } from './client.ts';
import { OutageReport } from './outage-report.ts';
import { endSoonBy, Output } from './output.ts';
import { type ProgramProxy, planProgramProxy } from './program-proxy.ts';
import { untilSignal } from './run.ts';
import { TetherReport } from './tether.ts';

interface BrowserOptions {
  readonly browser?: string;
  readonly browserArg?: readonly string[];
  readonly keep?: string | true;
  readonly verbose?: boolean;
}

interface Profile {
  readonly path: string;
  /** Never throws. */
  remove(): void;
}

export async function runBrowser(url = `http://${OWN_HOST}/`, command: Command): Promise<void> {
  const options = command.opts<BrowserOptions>();
  if (url.startsWith('-')) throw new WstunError('bad-option', 'a URL cannot begin with a hyphen');
  const output = new Output({ ...options, isBeside: true });
  const browser = findBrowser(options.browser, SYSTEM_BROWSERS, 'browser-absent');
  const events = reports(output, new OutageReport(output), new TetherReport(output), () => {});
  const { value: proxy, signal } = await untilSignal(await planProgramProxy(command, { output, events }));
  if (proxy === undefined) {
    process.exitCode = 128 + constants.signals[signal ?? 'SIGTERM'];
    if (signal !== undefined) endSoonBy(signal);
    return;
  }
  try {
    await useBrowser(url, options, { browser, proxy, output });
  } finally {
    await proxy.close();
  }
}

async function useBrowser(
  url: string,
  { keep, browserArg: more = [] }: BrowserOptions,
  { browser, proxy, output }: { browser: FoundBrowser; proxy: ProgramProxy; output: Output },
): Promise<void> {
  const needsPassword = proxy.credentials !== undefined;
  const isRoot = process.platform === 'linux' && process.getuid?.() === 0;
  const wish = { family: browser.family, proxy: proxy.address, needsPassword, url, isRoot, more };
  const preferences = firefoxPreferences(wish);
  const profile =
    keep === undefined ? await passingProfile(preferences) : await keptProfile(keep, browser, preferences);
  try {
    const args = browserCommand({ ...wish, profile: profile.path });
    const run = new BrowserRun({ program: browser.program, args, env: browserEnv(), logger: output.logger });
    const started = startedText(browser, proxy, { keep, isUnsandboxed: args.includes('--no-sandbox') });
    output.show(started, { instead: started, isNeeded: true });
    proxy.own?.ended.catch((error: unknown) => output.say(error instanceof WstunError ? error.message : String(error)));
    await untilEnded(run);
  } finally {
    profile.remove();
  }
}

/** The first signal lets it save its profile, and the next one kills it. */
async function untilEnded(run: BrowserRun): Promise<void> {
  let signals = 0;
  const handle = () => {
    signals++;
    if (signals === 1) run.end();
    else run.kill();
  };
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of names) process.on(name, handle);
  try {
    await run.ended;
  } finally {
    for (const name of names) process.off(name, handle);
  }
}

async function passingProfile(preferences: string): Promise<Profile> {
  const folder = new PrivateFolder();
  return { path: await folder.newProfile(preferences), remove: () => folder.remove() };
}

/** @throws WstunError bad-option, state-unusable */
async function keptProfile(keep: string | true, { family }: FoundBrowser, preferences: string): Promise<Profile> {
  const name = keep === true ? 'default' : keep;
  if (!/^[A-Za-z0-9][\w.-]{0,62}$/.test(name))
    throw new WstunError('bad-option', '--keep needs a name of letters, digits, dots, dashes and underscores');
  const path = join(defaultStateDir('client', process.env), 'browsers', `${family}-${name}`);
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    if (family === 'firefox') await writeFile(join(path, 'user.js'), preferences, { mode: 0o600 });
  } catch (error) {
    throw new WstunError('state-unusable', `${path}: ${fileReason(error)}`);
  }
  return { path, remove: () => {} };
}

/** Ours holds secrets; and a browser has its proxy by its arguments. */
function browserEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('WSTUN_')));
}

function startedText(
  { program }: FoundBrowser,
  { address, credentials }: ProgramProxy,
  { keep, isUnsandboxed }: { keep: string | true | undefined; isUnsandboxed: boolean },
): string {
  const profile = keep === undefined ? 'Its profile is removed at the end.' : 'Its profile is kept.';
  const lines = [`wstun: ${program} is started; everything in it goes through ${formatHostPort(address)}. ${profile}`];
  if (credentials !== undefined)
    lines.push(
      'wstun: it will ask for the user name and the password of the proxy, since browsers have none for SOCKS.',
    );
  if (isUnsandboxed)
    lines.push(
      'wstun: it runs without its sandbox, which does not work for root. Use another user for websites that you do not trust.',
    );
  return lines.join('\n');
}
