/**
 * The order of test files for vitest: those that wait long, for limits that are what they test, begin first. Else a
 * clean checkout, of whose files only the sizes are known, has one of them last, and nothing beside it.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const LONG = [
  'tunnel/two-ways',
  'tether/laptop/tether-server',
  'tunnel/cut-sweep',
  'state/usage-file',
  'tether/laptop/browser-bridges',
  'e2e/tether-address',
  'e2e/tether-resume',
  'e2e/tether-middlebox',
  'e2e/resume',
  'e2e/stalled-link',
  'e2e/knocking-page',
  'e2e/reset',
  'e2e/node-versions',
  'e2e/in-front',
  'e2e/access',
];

const isLong = ({ moduleId }: TestSpecification): boolean => LONG.some((name) => moduleId.endsWith(`/${name}.test.ts`));

export class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}
