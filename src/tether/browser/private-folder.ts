/**
 * The folder of a browser that the client starts: its start file, and a profile for each start. Only this user can read
 * it. It is removed at the end, or by the next client where that one was killed.
 */
import { lstatSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FIREFOX_PREFERENCES } from './browser-command.ts';

/** Then the process of the client, and six random characters. */
const PREFIX = 'wstun-browser-';
const ITS_NAME = /^wstun-browser-(\d+)-\w{6}$/;
/** A browser that was killed may still write. */
const REMOVAL = { recursive: true, force: true, maxRetries: 3, retryDelay: 100 } as const;

export class PrivateFolder {
  readonly path: string;
  private profiles = 0;

  /** @throws Error the system's, where it cannot be made */
  constructor() {
    removeAbandoned();
    // Mode 0700.
    this.path = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  }

  /** Makes an empty profile, and removes the one before. @param preferences `user.js` of Firefox */
  async newProfile(preferences = FIREFOX_PREFERENCES): Promise<string> {
    await rm(this.profile, REMOVAL).catch(() => {});
    this.profiles += 1;
    await mkdir(this.profile, { mode: 0o700 });
    await writeFile(join(this.profile, 'user.js'), preferences, { mode: 0o600 });
    return this.profile;
  }

  /** @returns its path */
  writeStart(html: string): string {
    writeFileSync(this.startFile, html, { mode: 0o600 });
    return this.startFile;
  }

  removeStart(): void {
    rmSync(this.startFile, { force: true });
  }

  /** Never throws. */
  remove(): void {
    try {
      rmSync(this.path, REMOVAL);
    } catch {
      // Of a browser that does not end; the next client removes it.
    }
  }

  private get profile(): string {
    return join(this.path, `profile-${this.profiles}`);
  }

  private get startFile(): string {
    return join(this.path, 'start.html');
  }
}

/** Those of clients that were killed. Never throws. */
function removeAbandoned(): void {
  for (const name of namesIn(tmpdir())) {
    const pid = Number(ITS_NAME.exec(name)?.[1] ?? 0);
    const path = join(tmpdir(), name);
    try {
      if (pid > 0 && !isRunning(pid) && lstatSync(path).uid === (process.getuid?.() ?? 0)) rmSync(path, REMOVAL);
    } catch {
      // Another client removes it at the same time, or this one may not.
    }
  }
}

function namesIn(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
