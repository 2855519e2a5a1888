/** Time limits and bounds of a browser that the client starts; docs/limits.md has the reasons. */

/** From its start to the pairing: a cold start on a slow disk. */
export const START_LIMIT_MS = 20_000;
/** Its process runs, but its page is gone: a page that lives is back sooner. */
export const PAGE_GONE_MS = 1_500;
/** A run of this length was no failed start. */
export const LASTING_RUN_MS = 60_000;
/** Starts in a row without a wait. */
export const QUICK_STARTS = 2;
/** Then this wait, which doubles. */
export const FIRST_WAIT_MS = 1_000;
export const MAX_WAIT_MS = 60_000;
/** From the request to end to the kill. */
export const END_LIMIT_MS = 2_000;
/** For `--version`, which a browser answers without starting. */
export const VERSION_LIMIT_MS = 3_000;
/** Of what a browser prints, for one log line. */
export const MAX_LINE_CHARS = 500;
