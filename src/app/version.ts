/** The version of this package, from the package.json beside the program. */
import { readFileSync } from 'node:fs';

let known: string | undefined;

export function packageVersion(): string {
  known ??= readVersion();
  return known;
}

function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const isManifest = typeof manifest === 'object' && manifest !== null && 'version' in manifest;
  return isManifest ? String(manifest.version) : 'unknown';
}
