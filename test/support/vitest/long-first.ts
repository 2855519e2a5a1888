/**
 * The order of test files for vitest. A clean checkout knows only the sizes of files, and would begin with the largest:
 * files that wait long, for limits that are what they test, would come last, with idle cores beside them. So the
 * longest begin first, and the others between the short ones, which use the cores meanwhile.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** The longest first: from more than a minute to a quarter of one. */
const LONG = [
  'e2e/tether-resume',
  'e2e/access',
  'e2e/node-versions',
  'e2e/stalled-link',
  'e2e/tether-address',
  'e2e/tether',
  'figures/entry-limits',
  'figures/bad-input',
  'e2e/interop',
  'e2e/resume',
  'e2e/tether-middlebox',
  'e2e/in-front',
  'figures/bulk',
  'figures/idle-sessions',
  'tunnel/two-ways',
  'tunnel/cut-sweep',
  'e2e/named-exit',
  'e2e/knocking-page',
  'relay/relay-server',
  'e2e/reset',
  'e2e/process-limits',
  'tunnel/session/tunnel-client',
  'e2e/tether-overload',
  'e2e/integrity',
  'e2e/given-up',
  'tunnel/session/session-driver',
  'state/usage-file',
  'tether/laptop/tether-server',
  'relay/decoy',
];
/** How many of them begin at once, and among which part of the others the rest begin. */
const AT_ONCE = 3;
const WITHIN = 0.6;

/** Of a file that is not among them: LONG.length. */
function rankOf({ moduleId }: TestSpecification): number {
  const at = LONG.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`));
  return at < 0 ? LONG.length : at;
}

export class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const others = sorted.filter((file) => rankOf(file) === LONG.length);
    const long = sorted.filter((file) => rankOf(file) < LONG.length).sort((a, b) => rankOf(a) - rankOf(b));
    const order = long.splice(0, AT_ONCE);
    const between = Math.floor((others.length * WITHIN) / Math.max(1, long.length));
    for (const file of long) order.push(...others.splice(0, between), file);
    return [...order, ...others];
  }
}
