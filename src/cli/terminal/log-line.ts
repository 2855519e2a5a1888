/** One line of text for each thing that happens: with the time, safe for a terminal, and never two lines. Pure. */
import { timeOfDay } from './quantities.ts';
import { safeText } from './safe-text.ts';

export type Level = 'debug' | 'info' | 'warn' | 'error';

/**
 * `terminal`: with the time of day, for a person. `file`: with date and time in UTC, also for a journal. `none`:
 * without, beside the output of another program.
 */
export type TimeStyle = 'terminal' | 'file' | 'none';

/** A line of the log: level, message, and fields as `key=value`. */
export function logLine(at: number, style: TimeStyle, level: Level, message: string, fields: object): string {
  // Whoever watches need not be told that a line informs.
  const shownLevel = style === 'terminal' && level === 'info' ? '' : `${style === 'none' ? 'wstun: ' : ''}${level}: `;
  return `${stamp(at, style)}${shownLevel}${safeText(message)}${fieldsText(fields)}`;
}

/** A sentence of the program itself. */
export function sentenceLine(at: number, style: TimeStyle, text: string): string {
  return `${stamp(at, style)}${style === 'terminal' ? '' : 'wstun: '}${safeText(text)}`;
}

function stamp(at: number, style: TimeStyle): string {
  if (style === 'none') return '';
  return `${style === 'terminal' ? timeOfDay(at) : new Date(at).toISOString()} `;
}

/** Values with spaces, quotes or equals signs are in quotation marks, as JSON has them. */
function fieldsText(fields: object): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${valueText(value)}`)
    .join('');
}

function valueText(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const isPlain = typeof value !== 'string' || /^[^\s"'=]+$/.test(text);
  return safeText(isPlain ? text : JSON.stringify(text));
}
