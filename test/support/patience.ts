/**
 * How many times as long as its author thought a test waits for an event before it calls it missing. Such a limit is for
 * a hang and promises nothing of a speed, and a machine may be several times slower than the one at which the test was
 * written. A run that passes takes no longer for it.
 */
export const PATIENCE = 4;
