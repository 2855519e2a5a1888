/** The result of `act`, or `otherwise` where it throws: for what may be missing or forbidden. Pure. */
export function attempt<T>(act: () => T, otherwise: T): T {
  try {
    return act();
  } catch {
    return otherwise;
  }
}
