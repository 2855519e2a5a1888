/** Options that relay, client and exit share, and their ranges. */
import { WstunError } from '../errors.ts';

/** How long `close` lets connections finish, ms: under the 90 s after which systemd kills a service. */
export const DRAIN_MS = 30_000;

const MAX_RESUME_WINDOW_MS = 86_400_000;

/** @throws WstunError bad-option unless it is undefined or a whole number from 0 to `max` */
export function requireWhole(option: string, value: number | undefined, max: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= 0 && value <= max)) return;
  throw new WstunError('bad-option', `${option} must be a whole number from 0 to ${max}`);
}

/** @throws WstunError bad-option */
export function requireResumeWindow(ms: number | undefined): void {
  requireWhole('resumeWindowMs', ms, MAX_RESUME_WINDOW_MS);
}
