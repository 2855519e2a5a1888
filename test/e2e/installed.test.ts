/** The package as npm installs it. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { run, runWell } from '../support/programs/programs.ts';
import { WstunProcess } from '../support/programs/wstun-process.ts';
import { tempDir } from '../support/temp-dir.ts';

const ROOT = join(import.meta.dirname, '../..');
const LIMIT = { limitMs: 50_000 };
let folder = '';
let tarball = '';

/** Dependencies are left out, as no registry can be reached: the program has what it needs for all but a few options. */
beforeAll(async () => {
  folder = await tempDir();
  await runWell('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], { cwd: ROOT, ...LIMIT });
  await runWell('sh', ['-c', `tar -xzf wstun-*.tgz && rm wstun-*.tgz`], { cwd: folder });
  const manifest = join(folder, 'package/package.json');
  const {
    dependencies: _,
    devDependencies: __,
    ...rest
  } = JSON.parse(await readFile(manifest, 'utf8')) as Record<string, unknown>;
  await writeFile(manifest, JSON.stringify(rest));
  tarball = join(folder, 'wstun.tgz');
  await runWell('tar', ['-czf', tarball, 'package'], { cwd: folder });
}, 300_000);

const npm = (): Record<string, string> => ({
  HOME: folder,
  npm_config_offline: 'true',
  npm_config_update_notifier: 'false',
});

it('`npm install -g` of the package makes a command that serves the quickstart, and a manual page', {
  timeout: 300_000,
}, async () => {
  const prefix = join(folder, 'prefix');
  const install = ['install', '--global', '--prefix', prefix, '--no-audit', '--no-fund', tarball];
  await runWell('npm', install, { env: npm(), ...LIMIT });
  const program = join(prefix, 'bin/wstun');
  expect((await run(program, ['--version'])).stdout).toMatch(/^wstun \d+\.\d+\.\d+ \(/);
  expect(await readFile(join(prefix, 'share/man/man1/wstun.1'), 'utf8')).toMatch(/^\.TH WSTUN 1/);
  const quickstart = new WstunProcess(['quickstart', '--json', '--listen', '127.0.0.1:0'], { through: program });
  const { listen, url } = await quickstart.event('ready');
  expect(await runWell('curl', ['-sS', '-x', `socks5h://${listen}`, String(url)])).toContain('wstun works');
});

it('`npx --package` runs it without an installation', { timeout: 300_000 }, async () => {
  const args = ['--yes', `--package=${tarball}`, 'wstun', 'version', '--json'];
  const shown = await runWell('npx', args, { cwd: folder, env: npm(), ...LIMIT });
  expect(JSON.parse(shown)).toMatchObject({ version: expect.stringMatching(/^\d/), protocol: 1 });
});
