/** Cleaning up behind whatever started something: a test, or a `beforeAll`, in which `onTestFinished` does not work. */
import { afterAll, onTestFinished } from 'vitest';

type Cleanup = () => unknown;

const ofFile: Cleanup[] = [];

afterAll(async () => {
  for (const cleanup of ofFile.splice(0).reverse()) await cleanup();
});

/** Runs `cleanup` when the test file is over, wherever it is called. */
export function atEndOfFile(cleanup: Cleanup): void {
  ofFile.push(cleanup);
}

/** Runs `cleanup` when the current test is over; outside of one, when the test file is. The latest first. */
export function atEnd(cleanup: Cleanup): void {
  try {
    onTestFinished(async () => {
      await cleanup();
    });
  } catch {
    ofFile.push(cleanup);
  }
}
