import { PATIENCE } from './patience.ts';

/** Resolves as soon as the condition holds; looks every 5 ms, rejects after PATIENCE times the limit. */
export async function until(condition: () => boolean, limitMs = 5000): Promise<void> {
  const deadline = performance.now() + limitMs * PATIENCE;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${limitMs * PATIENCE} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
