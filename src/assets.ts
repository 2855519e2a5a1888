/**
 * The files that the program reads beside its code. The single file has them inside itself: tools/build-bundle.mjs puts
 * another module in the place of this one.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** `quickjs.wasm` is of the package quickjs-wasi, the others are made by the build. */
export type AssetName = 'page.html' | 'build-info.json' | 'quickjs.wasm';

/** @throws if it was not built or installed */
export function readAsset(name: AssetName): Buffer {
  return readFileSync(pathOf(name));
}

function pathOf(name: AssetName): URL | string {
  switch (name) {
    case 'page.html':
      return new URL('./tether/page.html', import.meta.url);
    case 'build-info.json':
      return new URL('./build-info.json', import.meta.url);
    case 'quickjs.wasm':
      return createRequire(import.meta.url).resolve('quickjs-wasi/quickjs.wasm');
  }
}
