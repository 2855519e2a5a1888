/** The package as its users get it: packed, installed into an empty folder without a network, compiled against, run. */
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { run, runWell } from '../support/programs/programs.ts';
import { tempDir } from '../support/temp-dir.ts';

const ROOT = join(import.meta.dirname, '../..');
const COMPILER = {
  target: 'es2022',
  lib: ['es2023'],
  module: 'nodenext',
  types: ['node'],
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  outDir: 'out',
};

let folder = '';

/** Dependencies come from the repository, as a registry cannot be reached. */
async function install(into: string): Promise<void> {
  const { dependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const name of [...Object.keys(dependencies), '@types/node']) {
    const link = join(into, 'node_modules', name);
    await mkdir(dirname(link), { recursive: true });
    await symlink(join(ROOT, 'node_modules', name), link);
  }
  const packed = await tempDir();
  await runWell('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', packed], {
    cwd: ROOT,
    limitMs: 50_000,
  });
  await runWell('sh', ['-c', `tar -xzf ${packed}/wstun-*.tgz -C ${packed}`]);
  await cp(join(packed, 'package'), join(into, 'node_modules/wstun'), { recursive: true });
}

async function compile(name: string, text: string): Promise<{ code: number | null; stdout: string }> {
  await writeFile(join(folder, `${name}.ts`), text);
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: COMPILER, files: [`${name}.ts`] }));
  return await run(join(ROOT, 'node_modules/.bin/tsc'), ['-p', folder], { cwd: folder, limitMs: 50_000 });
}

beforeAll(async () => {
  folder = await tempDir();
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  await install(folder);
}, 180_000);

describe('the packed library', () => {
  it('the program of docs/api.md passes the compiler with the types of the package, and gets its page', async () => {
    const page = await readFile(join(ROOT, 'docs/api.md'), 'utf8');
    const [, program = ''] = /^```ts\n(.*?)^```$/ms.exec(page) ?? [];
    expect(program.trim().split('\n').length).toBeLessThanOrEqual(22);
    expect(await compile('program', program)).toMatchObject({ code: 0, stdout: '' });
    const { code, stdout, stderr } = await run(process.execPath, ['out/program.js'], { cwd: folder });
    expect([code, stdout, stderr]).toEqual([0, 'hello through the tunnel\n', '']);
  });

  it('its types reject an option that does not exist, and a relay without a state directory', async () => {
    const { code, stdout } = await compile(
      'wrong',
      `import { startClient, startRelay } from 'wstun';
       await startClient({ invite: 'wstun1_', resumeWindow: 5 });
       await startRelay({ listen: [] });`,
    );
    expect(code).not.toBe(0);
    expect(stdout.match(/error TS\d+/g)).toHaveLength(2);
  });

  it('an import sets no signal handler, keeps no process alive and prints nothing', async () => {
    const program = `
      const count = () => process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0);
      const before = count();
      await import('wstun');
      process.exitCode = count() === before ? 0 : 1;`;
    const { code, stdout, stderr } = await run(process.execPath, ['--input-type=module', '-e', program], {
      cwd: folder,
    });
    expect([code, stdout, stderr]).toEqual([0, '', '']);
  });

  it('only the entry point and package.json can be imported', async () => {
    const program = `import('wstun/dist/app/relay.js').catch(({ code }) => console.log(code))`;
    const { stdout } = await run(process.execPath, ['-e', program], { cwd: folder });
    expect(stdout).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED\n');
  });
});
