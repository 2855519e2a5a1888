/** The tag `waits`, by which `npm run test:unit` leaves tests out. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const STARTS_A_PROCESS = /from '(node:child_process|[./]+support\/(programs|phone|wstun-process|wstun-stack)\.ts)'/;
const IS_TAGGED = /@module-tag waits|tags: \['waits'\]/;

it('every test file outside of e2e and figures that starts a process has the tag `waits`', () => {
  const all = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' });
  const files = all.filter((file) => file.endsWith('.test.ts') && !/^(e2e|figures)\//.test(file));
  const starting = files.filter((file) => STARTS_A_PROCESS.test(readFileSync(join(import.meta.dirname, file), 'utf8')));
  expect(starting).not.toEqual([]);
  const untagged = starting.filter((file) => !IS_TAGGED.test(readFileSync(join(import.meta.dirname, file), 'utf8')));
  expect(untagged).toEqual([]);
});
