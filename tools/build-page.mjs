/**
 * Makes the tether's page: one HTML file with script and style in it, beside the compiled server that serves it.
 *
 *     node tools/build-page.mjs [OUTPUT]        default: dist/tether/page.html
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, transform } from 'esbuild';

/** docs/limits.md has it. */
const MAX_BYTES = 70_000;
const source = (name) => fileURLToPath(new URL(`../src/tether/page/${name}`, import.meta.url));
const output = process.argv[2] ?? fileURLToPath(new URL('../dist/tether/page.html', import.meta.url));

/** iOS 15, which runs on the phones of 2015, has all that the page uses of it. */
const target = 'es2022';
const bundle = await build({
  entryPoints: [source('main.ts')],
  bundle: true,
  minify: true,
  write: false,
  format: 'iife',
  target,
  legalComments: 'none',
  loader: { '.mp4': 'dataurl' },
});
const script = bundle.outputFiles[0].text.trim();
const style = (
  await transform(await readFile(source('style.css'), 'utf8'), { loader: 'css', minify: true, target: 'safari15' })
).code.trim();
const html = (await readFile(source('index.html'), 'utf8'))
  .replace(/<!--[\s\S]*?-->\s*/g, '')
  .replace(/>\s+</g, '><')
  .replace('/* style */', () => style)
  .replace('/* script */', () => script)
  .trim();

if (/<\/script/i.test(script) || Buffer.byteLength(html) > MAX_BYTES) {
  throw new Error(`the page has ${Buffer.byteLength(html)} bytes, or a script in its script`);
}
await mkdir(dirname(output), { recursive: true });
await writeFile(output, `${html}\n`);
