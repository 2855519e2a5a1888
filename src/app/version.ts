/** Which wstun this is, as the build has written it down. */
import { readFileSync } from 'node:fs';
import { readAsset } from '../assets.ts';

export interface Build {
  readonly version: string;
  /** The abbreviated commit; `unknown` where it was built without git. */
  readonly commit: string;
  /** Of the commit, YYYY-MM-DD; else of the build. */
  readonly date: string;
}

const UNKNOWN: Build = { version: 'unknown', commit: 'unknown', date: '1970-01-01' };

let known: Build | undefined;

/** Never throws: a version that cannot be read must not be in the way of a command. */
export function readBuild(): Build {
  known ??= read();
  return known;
}

export function packageVersion(): string {
  return readBuild().version;
}

/** The package.json is that of sources which run without a build. */
function read(): Build {
  const places = [
    () => readAsset('build-info.json'),
    () => readFileSync(new URL('../../package.json', import.meta.url)),
  ];
  for (const place of places) {
    try {
      const { version, commit, date } = JSON.parse(place().toString('utf8')) as Partial<Build>;
      return { ...UNKNOWN, ...(version && { version }), ...(commit && { commit }), ...(date && { date }) };
    } catch {
      // The next one.
    }
  }
  return UNKNOWN;
}
