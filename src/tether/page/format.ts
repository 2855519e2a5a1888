/** Numbers for people. Pure. */
import { STRINGS } from './strings.ts';

const UNITS = ['B', 'KB', 'MB', 'GB', 'TB'] as const;

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

/** In megabits, as in tariffs and speed tests. */
export function formatSpeed(bytesPerSecond: number): { readonly value: string; readonly unit: string } {
  const megabits = (bytesPerSecond * 8) / 1e6;
  if (megabits >= 0.995) return { value: megabits.toFixed(megabits < 9.95 ? 1 : 0), unit: 'Mbit/s' };
  return { value: ((bytesPerSecond * 8) / 1e3).toFixed(0), unit: 'kbit/s' };
}

export function formatDuration(ms: number): string {
  const { second, minute, hour } = STRINGS.sinceUnit;
  const seconds = Math.floor(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${seconds} ${second}`;
  if (minutes < 60) return `${minutes} ${minute}`;
  return `${Math.floor(minutes / 60)} ${hour} ${minutes % 60} ${minute}`;
}
