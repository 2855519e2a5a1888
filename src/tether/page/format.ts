/** Numbers for people. Pure. */

const UNITS = ['B', 'KB', 'MB', 'GB', 'TB'] as const;
/** Nothing to tell. */
const NONE = '–';
/** From then on the time of day is not enough. */
const OTHER_DAY_MS = 20 * 3_600_000;

/** 0 B, 999 B, 1.0 KB, 87 MB: three digits at most. */
export function formatBytes(bytes: number): { readonly value: string; readonly unit: string } {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit > 0 && value < 9.95 ? 1 : 0;
  return { value: value.toFixed(digits), unit: UNITS[unit] ?? '' };
}

/** In megabits, as in tariffs and speed tests. What rounds to nothing is a dash without a unit. */
export function formatSpeed(bytesPerSecond: number): { readonly value: string; readonly unit: string } {
  const bits = bytesPerSecond * 8;
  if (bits >= 995_000) return { value: (bits / 1e6).toFixed(bits < 9.95e6 ? 1 : 0), unit: 'Mbit/s' };
  return bits < 500 ? { value: NONE, unit: '' } : { value: (bits / 1e3).toFixed(0), unit: 'kbit/s' };
}

interface Calendar {
  /** Default: of the browser, as its user has chosen them. */
  readonly locale?: string;
  readonly timeZone?: string;
}

/** The time of day, after most of a day with the day of the week. @param since, now ms since 1970 */
export function formatSince(since: number | undefined, now: number, { locale, timeZone }: Calendar = {}): string {
  if (since === undefined) return NONE;
  const day = now - since >= OTHER_DAY_MS ? ({ weekday: 'short' } as const) : {};
  return new Date(since).toLocaleTimeString(locale, { hour: 'numeric', minute: '2-digit', ...day, timeZone });
}
