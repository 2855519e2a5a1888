/** Finds a browser on this machine: by PATH and in the usual places of each system. Files are asked for by its host. */
import { accessSync, constants, statSync } from 'node:fs';
import { join, win32 } from 'node:path';
import { WstunError } from '../../errors.ts';

/** By what it understands: `chromium` includes Chrome, Edge, Brave, Vivaldi and Opera. */
export type BrowserFamily = 'chromium' | 'firefox';

export interface FoundBrowser {
  /** Absolute. */
  readonly program: string;
  readonly family: BrowserFamily;
}

export interface BrowserHost {
  readonly platform: NodeJS.Platform;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether there is a program of this absolute path that this user may run. */
  isProgram(path: string): boolean;
}

/** The machine of this process. */
export const SYSTEM_BROWSERS: BrowserHost = { platform: process.platform, env: process.env, isProgram };

/** Looked for in PATH, the first one is used. What a system's owner has installed beside it is more likely managed. */
const NAMES = [
  'google-chrome-stable',
  'google-chrome',
  'microsoft-edge-stable',
  'microsoft-edge',
  'chromium',
  'chromium-browser',
  'brave-browser',
  'firefox',
  'firefox-esr',
] as const;

const MAC_PROGRAMS = [
  'Google Chrome.app/Contents/MacOS/Google Chrome',
  'Microsoft Edge.app/Contents/MacOS/Microsoft Edge',
  'Chromium.app/Contents/MacOS/Chromium',
  'Brave Browser.app/Contents/MacOS/Brave Browser',
  'Firefox.app/Contents/MacOS/firefox',
] as const;

const WINDOWS_PROGRAMS = [
  'Google\\Chrome\\Application\\chrome.exe',
  'Microsoft\\Edge\\Application\\msedge.exe',
  'Chromium\\Application\\chrome.exe',
  'BraveSoftware\\Brave-Browser\\Application\\brave.exe',
  'Mozilla Firefox\\firefox.exe',
] as const;

const LINUX_FOLDERS = [
  '/usr/bin',
  '/usr/local/bin',
  '/snap/bin',
  '/opt/google/chrome',
  '/opt/microsoft/msedge',
] as const;

/**
 * @param given the path or name of a program; undefined: any browser
 * @param fault of its absence
 * @throws WstunError that fault
 */
export function findBrowser(
  given: string | undefined,
  host: BrowserHost,
  fault: 'browser-missing' | 'browser-absent' = 'browser-missing',
): FoundBrowser {
  const candidates = given === undefined ? usualPrograms(host) : namedPrograms(given, host);
  const program = candidates.find((path) => host.isProgram(path));
  if (program !== undefined) return { program, family: familyOf(program) };
  if (given === undefined) throw new WstunError(fault);
  throw new WstunError(fault, `there is no program ${given}`);
}

/** By the name of the program; an unknown one most likely is built on Chromium. */
function familyOf(program: string): BrowserFamily {
  const name = program.replace(/^.*[\\/]/, '').toLowerCase();
  return /firefox|librewolf|waterfox|floorp|zen/.test(name) ? 'firefox' : 'chromium';
}

/** A path is used as it is, and a name is looked for in PATH. */
function namedPrograms(given: string, host: BrowserHost): readonly string[] {
  return /[\\/]/.test(given) ? [given] : inFolders(pathFolders(host), [given], host);
}

function usualPrograms(host: BrowserHost): readonly string[] {
  const { env, platform } = host;
  if (platform === 'win32') {
    const folders = [env.PROGRAMFILES, env['PROGRAMFILES(X86)'], env.LOCALAPPDATA];
    const known = folders.filter((folder) => folder !== undefined && folder !== '') as string[];
    return WINDOWS_PROGRAMS.flatMap((program) => known.map((folder) => win32.join(folder, program)));
  }
  if (platform === 'darwin') {
    const folders = ['/Applications', ...(env.HOME ? [join(env.HOME, 'Applications')] : [])];
    return MAC_PROGRAMS.flatMap((program) => folders.map((folder) => join(folder, program)));
  }
  return inFolders([...pathFolders(host), ...LINUX_FOLDERS], NAMES, host);
}

function inFolders(folders: readonly string[], names: readonly string[], { platform }: BrowserHost): readonly string[] {
  const isWindows = platform === 'win32';
  const path = isWindows ? win32 : { join };
  return names.flatMap((name) =>
    folders.flatMap((folder) => [path.join(folder, name), ...(isWindows ? [path.join(folder, `${name}.exe`)] : [])]),
  );
}

/** A relative folder of PATH could be anyone's. */
function pathFolders({ env, platform }: BrowserHost): readonly string[] {
  const separator = platform === 'win32' ? ';' : ':';
  const isAbsolute = (folder: string) => (platform === 'win32' ? win32.isAbsolute(folder) : folder.startsWith('/'));
  return (env.PATH ?? '').split(separator).filter(isAbsolute);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
