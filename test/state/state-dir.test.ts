import { chmod, mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { homedir, hostname } from 'node:os';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { describe, expect, it } from 'vitest';
import { formatIdentitySecret } from '../../src/crypto/keys.ts';
import { defaultStateDir } from '../../src/state/default-dir.ts';
import { loadOrCreateIdentity } from '../../src/state/identity-file.ts';
import { readRelayUrl, saveRelayUrl } from '../../src/state/relay-settings.ts';
import { openExistingStateDir, openStateDir } from '../../src/state/state-dir.ts';
import { faultOfPromise } from '../support/faults.ts';
import { tempDir } from '../support/temp-dir.ts';

const isRoot = process.geteuid?.() === 0;

async function modeOf(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o777).toString(8);
}

async function newState() {
  return await openStateDir(join(await tempDir(), 'state'));
}

describe('openExistingStateDir', () => {
  it('openExistingStateDir does not create a directory for a mistyped path', async () => {
    const path = join(await tempDir(), 'typo');
    await expect(openExistingStateDir(path)).rejects.toMatchObject({ fault: 'state-unusable' });
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
    await openStateDir(path);
    expect((await openExistingStateDir(path)).path).toBe(path);
  });
});

describe('defaultStateDir', () => {
  it.each([
    [{ XDG_STATE_HOME: '/var/state' }, '/var/state/wstun/relay'],
    [{ XDG_STATE_HOME: 'relative' }, join(homedir(), '.local/state/wstun/relay')],
    [{ XDG_STATE_HOME: '' }, join(homedir(), '.local/state/wstun/relay')],
    [{}, join(homedir(), '.local/state/wstun/relay')],
  ])('defaultStateDir with %j is %s', (env, path) => {
    expect(defaultStateDir('relay', env)).toBe(path);
  });
});

describe('StateDir', () => {
  it.each([0o000, 0o022, 0o777])(
    'the state directory and its files are only for their owner, whatever the umask (%i)',
    async (mask) => {
      const base = await tempDir();
      const before = process.umask(mask);
      try {
        const path = join(base, 'one', 'two', 'three');
        const state = await openStateDir(path);
        await loadOrCreateIdentity(state);
        await saveRelayUrl(state, 'wss://relay', 'given');
        expect(await modeOf(path)).toBe('700');
        for (const name of ['identity.key', 'relay.toml'])
          expect([name, await modeOf(join(path, name))]).toEqual([name, '600']);
        expect((await readdir(path)).sort()).toEqual(['identity.key', 'relay.toml']);
      } finally {
        process.umask(before);
      }
    },
  );

  it.each([0o750, 0o705, 0o777, 0o701, 0o720])(
    'a state directory that is open to others (%i) is rejected with the command that fixes it',
    async (mode) => {
      const path = await tempDir();
      await chmod(path, mode);
      const opened = openStateDir(path);
      await expect(opened).rejects.toThrow(`chmod 700 ${path}`);
      await expect(opened).rejects.toMatchObject({ fault: 'state-unusable' });
      await chmod(path, 0o700);
      await openStateDir(path);
    },
  );

  it('a state directory that is a file, or is below a file, is rejected with the reason', async () => {
    const base = await tempDir();
    await writeFile(join(base, 'file'), '');
    await expect(openStateDir(join(base, 'file'))).rejects.toThrow(/not a directory/);
    await expect(openStateDir(join(base, 'file', 'below'))).rejects.toThrow(/not a directory/);
    expect(await faultOfPromise(openStateDir(join(base, 'file')))).toBe('state-unusable');
    expect(await faultOfPromise(openStateDir(join(base, 'x'.repeat(300))))).toBe('state-unusable');
  });

  it('a state directory that cannot be written to is rejected with the reason', async () => {
    // Root may write anywhere but here.
    const path = isRoot ? '/proc/wstun' : join(await tempDir(), 'locked', 'state');
    if (!isRoot) await mkdir(join(path, '..'), { mode: 0o500 });
    expect(await faultOfPromise(openStateDir(path))).toBe('state-unusable');
  });

  it('a state directory may be a symbolic link', async () => {
    const base = await tempDir();
    await mkdir(join(base, 'real'), { mode: 0o700 });
    await symlink(join(base, 'real'), join(base, 'link'));
    await loadOrCreateIdentity(await openStateDir(join(base, 'link')));
    expect(await readdir(join(base, 'real'))).toEqual(['identity.key']);
  });

  it('StateDir rejects reading a directory, or a file that is too large', async () => {
    const state = await newState();
    await mkdir(state.pathOf('identity.key'), { mode: 0o700 });
    expect(await faultOfPromise(state.read('identity.key', { secret: true }))).toBe('state-unusable');
    await writeFile(state.pathOf('big'), Buffer.alloc(4 * 1024 * 1024 + 1));
    await expect(state.read('big', { secret: false })).rejects.toThrow(/larger than 4 MiB/);
  });

  it('StateDir keeps the old file and no temporary file when a write fails', async () => {
    const state = await newState();
    await mkdir(join(state.pathOf('access.toml'), 'in-the-way'), { recursive: true });
    expect(await faultOfPromise(state.write('access.toml', 'x'))).toBe('state-unusable');
    expect(await readdir(state.path)).toEqual(['access.toml']);
  });

  it('files in a state directory belong to its owner after root has written them', async () => {
    if (!isRoot) throw new Error('this test gives a directory to another user, for which it must run as root');
    const state = await newState();
    const { chown } = await import('node:fs/promises');
    await chown(state.path, 12345, 12345);
    const again = await openStateDir(state.path);
    await again.write('access.toml', '');
    expect(await stat(again.pathOf('access.toml'))).toMatchObject({ uid: 12345, gid: 12345 });
  });
});

describe('loadOrCreateIdentity', () => {
  it('the identity is created once and then stays', async () => {
    const state = await newState();
    const first = await loadOrCreateIdentity(state);
    const second = await loadOrCreateIdentity(await openStateDir(state.path));
    expect([first.created, second.created]).toEqual([true, false]);
    expect(second.identity.exposeSecret()).toEqual(first.identity.exposeSecret());
  });

  it('the identity is the same for all processes that start at once', async () => {
    const state = await newState();
    const all = await Promise.all(Array.from({ length: 8 }, () => loadOrCreateIdentity(state)));
    expect(new Set(all.map(({ identity }) => formatIdentitySecret(identity))).size).toBe(1);
    expect(all.filter(({ created }) => created)).toHaveLength(1);
  });

  it('an identity file that is open to others is rejected with the command that fixes it', async () => {
    const state = await newState();
    await loadOrCreateIdentity(state);
    await chmod(state.pathOf('identity.key'), 0o640);
    await expect(loadOrCreateIdentity(state)).rejects.toThrow(`chmod 600 ${state.pathOf('identity.key')}`);
  });

  it('a damaged identity is never replaced by a new one, and never shown', async () => {
    const state = await newState();
    await loadOrCreateIdentity(state);
    const path = state.pathOf('identity.key');
    const text = await readFile(path, 'utf8');
    const damaged = [
      '',
      '\n',
      text.slice(0, 30),
      `${text}${text}`,
      text.replace(/.\n$/, ''),
      text.slice(9),
      '\0'.repeat(58),
    ];
    damaged.push(`${text.slice(0, 20)}${text[20] === 'A' ? 'B' : 'A'}${text.slice(21)}`);
    for (const wrong of damaged) {
      await writeFile(path, wrong);
      const loading = loadOrCreateIdentity(state);
      await expect(loading).rejects.toMatchObject({ fault: 'identity-damaged' });
      await expect(loading).rejects.toThrow(path);
      await expect(loading).rejects.not.toThrow(text.slice(30, 40));
      expect(await readFile(path, 'utf8')).toBe(wrong);
    }
    await writeFile(path, `  ${text}\r\n`);
    await loadOrCreateIdentity(state);
  });
});

describe('the remembered URL', () => {
  it('the remembered URL is normalised, and is written only when it changes', async () => {
    const state = await newState();
    expect(await readRelayUrl(state)).toBeUndefined();
    await saveRelayUrl(state, 'https://relay.example.com/x/', 'given');
    expect(await readRelayUrl(state)).toEqual({ url: 'wss://relay.example.com/x', source: 'given' });
    const before = await state.signature('relay.toml');
    await saveRelayUrl(state, 'wss://relay.example.com/x', 'given');
    expect(await state.signature('relay.toml')).toBe(before);
  });

  it('the remembered URL has its source, in a form that earlier versions can read', async () => {
    const state = await newState();
    await saveRelayUrl(state, 'wss://relay', 'guessed');
    expect(await readRelayUrl(state)).toEqual({ url: 'wss://relay', source: 'guessed' });
    expect(parse(await readFile(state.pathOf('relay.toml'), 'utf8'))).toEqual({ url: 'wss://relay' });
    await writeFile(state.pathOf('relay.toml'), '# Written by "wstun relay" when it starts.\nurl = "wss://relay"\n');
    expect(await readRelayUrl(state)).toEqual({ url: 'wss://relay', source: 'unknown' });
  });

  it.each(['url = 1', 'url = "ftp://x"', 'uri = "wss://x"', 'url = "wss://x"\nx = 1', '[', ''])(
    'a remembered URL that is written as %j is rejected',
    async (text) => {
      const state = await newState();
      await writeFile(state.pathOf('relay.toml'), text);
      expect(await faultOfPromise(readRelayUrl(state))).toBe('state-unusable');
    },
  );

  it('an invalid URL cannot be remembered', async () => {
    expect(await faultOfPromise(saveRelayUrl(await newState(), 'relay', 'given'))).toBe('bad-url');
  });
});

describe('the lock of a state directory', () => {
  const DEAD_PID = 2 ** 22 + 1; // above the kernel's highest

  it('the lock admits one at a time', async () => {
    const state = await newState();
    let inside = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 10 }, () =>
        state.locked(async () => {
          most = Math.max(most, ++inside);
          await new Promise((resolve) => setImmediate(resolve));
          inside--;
        }),
      ),
    );
    expect(most).toBe(1);
    expect(await readdir(state.path)).toEqual([]);
  });

  it('the lock is free again after its work has failed', async () => {
    const state = await newState();
    await expect(state.locked(() => Promise.reject(new Error('work')))).rejects.toThrow('work');
    expect(await state.locked(async () => 'next')).toBe('next');
  });

  it('the lock of a process that died on this host is removed at once, also by several at a time', async () => {
    const state = await newState();
    await writeFile(state.pathOf('.lock'), `${DEAD_PID} ${hostname()} abc`);
    let inside = 0;
    let most = 0;
    const start = performance.now();
    await Promise.all(
      Array.from({ length: 6 }, () =>
        state.locked(async () => {
          most = Math.max(most, ++inside);
          await new Promise((resolve) => setImmediate(resolve));
          inside--;
        }),
      ),
    );
    expect(most).toBe(1);
    expect(performance.now() - start).toBeLessThan(5000);
    expect(await readdir(state.path)).toEqual([]);
  });

  it('the lock of a dead process with the id of this one, as in a restarted container, is removed at once', async () => {
    const state = await newState();
    await writeFile(state.pathOf('.lock'), `${process.pid} ${hostname()} abc`);
    const start = performance.now();
    expect(await state.locked(async () => 'in')).toBe('in');
    expect(performance.now() - start).toBeLessThan(5000);
  });

  it('the lock of a process elsewhere, or without a token, is removed when it is old', async () => {
    const state = await newState();
    for (const token of ['1 another-host abc', '']) {
      await writeFile(state.pathOf('.lock'), token);
      await utimes(state.pathOf('.lock'), Date.now() / 1000 - 16, Date.now() / 1000 - 16);
      expect(await state.locked(async () => 'in')).toBe('in');
    }
  });
});
