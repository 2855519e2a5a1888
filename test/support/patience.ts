/**
 * How long a test waits for an event before it calls it missing. Such a limit is for a hang and promises nothing of a
 * speed, so in CI, where a machine may be several times slower than the one at which a test was written, it is wider. A
 * run that passes takes no longer for it.
 */
export const PATIENCE = process.env.CI ? 4 : 1;
