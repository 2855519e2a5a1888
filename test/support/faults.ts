import { type FaultName, WstunError } from '../../src/errors.ts';

/** The fault that a call throws; undefined if it throws none. Anything but a WstunError goes through. */
export function faultOf(call: () => unknown): FaultName | undefined {
  try {
    call();
  } catch (error) {
    if (error instanceof WstunError) return error.fault;
    throw error;
  }
  return undefined;
}

/** The fault with which a promise rejects; undefined if it does not. */
export async function faultOfPromise(promise: Promise<unknown>): Promise<FaultName | undefined> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof WstunError) return error.fault;
    throw error;
  }
  return undefined;
}
