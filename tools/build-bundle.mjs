/**
 * Makes of dist the same program in other forms:
 *
 *     dist/program/main.js   what bin/wstun.js starts: few files, which Node loads in half the time of two hundred
 *     dist/wstun.mjs         one file with everything in it, for machines without npm
 *     dist/wstun.1           the manual page
 */
import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const common = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  logLevel: 'error',
  legalComments: 'none',
  minifySyntax: true,
  minifyWhitespace: true,
};
/** For the packages that are CommonJS. The name must not be one that a module uses. */
const REQUIRE = `import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);`;
/** Loaded by few commands and options. In the package they stay what npm installs. */
const SELDOM = ['acme-client', '@peculiar/x509', 'pac-resolver'];
/** The same, but a third of what it takes as npm installs it, in time and memory: in the package it is a file, too. */
const SELDOM_FILE = ['prom-client'];

/** Modules of dist that must be there once: files beside them are found by their place, and tests watch the memory. */
const shared = {
  name: 'shared',
  setup({ onResolve }) {
    const names = ['assets.js', 'memory/pieces.js'].map((name) => join(dist, name));
    onResolve({ filter: /\/(assets|pieces)\.js$/ }, ({ path, resolveDir }) => {
      const found = join(resolveDir, path);
      return names.includes(found) ? { path: `../${relative(dist, found)}`, external: true } : undefined;
    });
  },
};

/**
 * Builtins that are costly as ES modules: Node then reads all that they export, and so loads what is seldom used. Of
 * node:http that is its WebSocket with all of undici, of node:tls the certificates of all authorities.
 */
const COSTLY = /^node:(?:https?|tls|util)$/;
const builtins = {
  name: 'builtins',
  setup({ onLoad, onResolve }) {
    onResolve({ filter: COSTLY }, ({ path, kind }) =>
      kind === 'import-statement' ? { path, namespace: 'builtin' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`,
    }));
  },
};

async function buildProgram() {
  const outdir = join(dist, 'program');
  await rm(outdir, { recursive: true, force: true });
  await build({
    ...common,
    entryPoints: { main: join(dist, 'cli/main.js') },
    format: 'esm',
    splitting: true,
    external: [...SELDOM, 'quickjs-wasi', 'koffi'],
    plugins: [shared, builtins],
    outdir,
    banner: { js: REQUIRE },
  });
}

/** Files and packages that few need are texts in it: to read a text costs Node less than to compile it. */
const embedded = {
  name: 'embedded',
  setup({ onLoad, onResolve }) {
    onLoad({ filter: /\/dist\/assets\.js$/ }, async () => {
      const files = {
        'page.html': join(dist, 'tether/page.html'),
        'build-info.json': join(dist, 'build-info.json'),
        'quickjs.wasm': createRequire(import.meta.url).resolve('quickjs-wasi/quickjs.wasm'),
      };
      const entries = await Promise.all(
        Object.entries(files).map(async ([name, path]) => [name, (await readFile(path)).toString('base64')]),
      );
      const contents = `const FILES = ${JSON.stringify(Object.fromEntries(entries))};
        export const readAsset = (name) => Buffer.from(FILES[name], 'base64');`;
      return { contents };
    });
    const filter = new RegExp(`^(${[...SELDOM, ...SELDOM_FILE].join('|')})$`);
    onResolve({ filter }, ({ path, kind }) => (kind === 'dynamic-import' ? { path, namespace: 'seldom' } : undefined));
    // All packages of NATS together: they recognise each other's objects by their classes.
    onResolve({ filter: /\/nats-library\.js$/ }, ({ path, kind, resolveDir }) =>
      kind === 'dynamic-import' ? { path: join(resolveDir, path), namespace: 'seldom' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'seldom' }, async ({ path }) => {
      const { outputFiles } = await build({
        ...common,
        stdin: { contents: `module.exports = require(${JSON.stringify(path)});`, resolveDir: root },
        format: 'cjs',
        write: false,
      });
      const contents = `const loaded = { exports: {} };
        new Function('module', 'exports', 'require', ${JSON.stringify(outputFiles[0].text)})(
          loaded, loaded.exports, require);
        module.exports = loaded.exports;`;
      return { contents, resolveDir: root };
    });
  },
};

async function buildFile() {
  const outfile = join(dist, 'wstun.mjs');
  const program = JSON.stringify(join(dist, 'cli/main.js'));
  await build({
    ...common,
    stdin: { contents: `import { main } from ${program};\nawait main(process.argv);`, resolveDir: root },
    format: 'esm',
    // Has a binary for each machine: what needs it says that npm has it.
    external: ['koffi'],
    plugins: [embedded, builtins],
    outfile,
    banner: { js: `#!/usr/bin/env node\n${REQUIRE}` },
  });
  await chmod(outfile, 0o755);
}

async function buildManual() {
  const [{ buildProgram: commands }, { manual }, { readBuild }] = await Promise.all(
    ['cli/main', 'cli/man', 'app/version'].map((name) => import(`../dist/${name}.js`)),
  );
  await writeFile(join(dist, 'wstun.1'), manual(commands([]), readBuild()));
}

await Promise.all([buildProgram(), buildFile(), buildManual()]);
