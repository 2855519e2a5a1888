/** Writes dist/build-info.json: the version, and the commit where there is git. */
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Empty where git, or the repository, is missing. Of this repository alone: a tarball may lie inside another one. */
function git(...args) {
  try {
    const options = { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], timeout: 5000 };
    const isHere = execFileSync('git', ['rev-parse', '--show-prefix'], options).trim() === '';
    return isHere ? execFileSync('git', args, options).trim() : '';
  } catch {
    return '';
  }
}

const { version } = JSON.parse(await readFile(`${root}/package.json`, 'utf8'));
const [commit = '', date = ''] = git('show', '--no-patch', '--format=%h %cs', '--abbrev=7', 'HEAD').split(' ');
const info = {
  version,
  commit: commit === '' ? 'unknown' : commit,
  date: date === '' ? new Date().toISOString().slice(0, 10) : date,
};
await mkdir(`${root}/dist`, { recursive: true });
await writeFile(`${root}/dist/build-info.json`, `${JSON.stringify(info)}\n`);
