/** Faults that have been printed, so that they are not printed again when the process ends. */

const told = new WeakSet<object>();

/** For a fault whose particulars have been printed. */
export function markTold<T extends object>(error: T): T {
  told.add(error);
  return error;
}

export function isTold(error: unknown): boolean {
  return typeof error === 'object' && error !== null && told.has(error);
}
