/**
 * Cleaning up behind whatever started something: a test, or a `beforeAll`, in which `onTestFinished` does not work. One
 * that fails does not keep the others from being done: network namespaces and processes would stay.
 */
import { afterAll, onTestFinished, TestRunner } from 'vitest';

type Cleanup = () => unknown;

const ofFile: Cleanup[] = [];
/** What failed, by test. */
const ofTests = new WeakMap<object, unknown[]>();

afterAll(async () => {
  const failures: unknown[] = [];
  for (const cleanup of ofFile.splice(0).reverse()) await noting(failures, cleanup);
  report(failures);
});

/** Runs `cleanup` when the test file is over, wherever it is called. */
export function atEndOfFile(cleanup: Cleanup): void {
  ofFile.push(cleanup);
}

/** Runs `cleanup` when the current test is over; outside of one, when the test file is. The latest first. */
export function atEnd(cleanup: Cleanup): void {
  const test = TestRunner.getCurrentTest();
  if (test === undefined) {
    ofFile.push(cleanup);
    return;
  }
  const failures = ofTests.get(test) ?? [];
  // The first comes last.
  if (!ofTests.has(test)) onTestFinished(() => report(failures));
  ofTests.set(test, failures);
  onTestFinished(() => noting(failures, cleanup));
}

async function noting(failures: unknown[], cleanup: Cleanup): Promise<void> {
  try {
    await cleanup();
  } catch (cause) {
    failures.push(cause);
  }
}

function report(failures: readonly unknown[]): void {
  if (failures.length > 0) throw failures[0];
}
