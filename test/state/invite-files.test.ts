/** Files with invites for other people: all of them or none, and never in place of another file. */
import { chmod, lstat, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkInviteFolder, makeInviteFolder, writeInviteFiles } from '../../src/state/invite-files.ts';
import { faultOfPromise } from '../support/faults.ts';
import { tempDir } from '../support/temp-dir.ts';

describe('files with invites', () => {
  it('are 0600, and are removed again on request', async () => {
    const folder = join(await tempDir(), 'a/b');
    await makeInviteFolder(folder);
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    const undo = await writeInviteFiles([
      { path: join(folder, 'one'), invite: '1' },
      { path: join(folder, 'two'), invite: '2' },
    ]);
    expect([(await stat(join(folder, 'two'))).mode & 0o777, await readFile(join(folder, 'two'), 'utf8')]).toEqual([
      0o600,
      '2\n',
    ]);
    await undo();
    expect(await readdir(folder)).toEqual([]);
  });

  it('are written all or none, and replace neither a file nor a link, not even one that leads nowhere', async () => {
    const folder = await tempDir();
    const [first, second] = [join(folder, 'first'), join(folder, 'second')];
    const both = [first, second].map((path) => ({ path, invite: 'new' }));
    for (const make of [
      () => writeFile(second, 'old'),
      () => symlink('/does/not/exist', second),
      () => mkdir(second),
    ]) {
      await make();
      expect(await faultOfPromise(checkInviteFolder(folder, [first, second]))).toBe('file-exists');
      expect(await faultOfPromise(writeInviteFiles(both))).toBe('file-exists');
      expect(await readdir(folder)).toEqual(['second']);
      await rm(second, { recursive: true });
    }
    await expect(lstat(first)).rejects.toThrow('ENOENT');
  });

  it('are not written where others can read, or where no directory can be', async () => {
    const folder = await tempDir();
    await chmod(folder, 0o750);
    const message = expect.stringContaining(`chmod 700 ${folder}`);
    await expect(checkInviteFolder(folder, [])).rejects.toMatchObject({ fault: 'out-unusable', message });
    const file = join(folder, 'file');
    await writeFile(file, '');
    expect(await faultOfPromise(checkInviteFolder(file, []))).toBe('out-unusable');
    expect(await faultOfPromise(makeInviteFolder(join(file, 'below')))).toBe('out-unusable');
    const below = { path: join(folder, 'none/x'), invite: '' };
    expect(await faultOfPromise(writeInviteFiles([below]))).toBe('out-unusable');
    expect(await faultOfPromise(checkInviteFolder(join(folder, 'none'), []))).toBe(undefined);
  });
});
