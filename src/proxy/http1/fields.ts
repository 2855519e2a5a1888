/** Header fields as flat lists, names and values in turn, as they came, one char a byte (latin1). Pure. */

export type Fields = readonly string[];

/** RFC 9110 §5.6.2, as part of a character class. */
export const TOKEN_CHARS = "!#$%&'*+\\-.^_`|~0-9A-Za-z";

/** Without leading and trailing OWS (RFC 9110 §5.6.3); `trim` would also remove the bytes 85 and A0. */
export function trimOws(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return start === 0 && end === text.length ? text : text.slice(start, end);
}

function isBlank(char: number): boolean {
  return char === 0x20 || char === 0x09;
}

/** `wanted`: in lower case. */
export function valuesOf(fields: Fields, wanted: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (fields[i]?.length === wanted.length && fields[i]?.toLowerCase() === wanted) values.push(fields[i + 1] ?? '');
  }
  return values;
}

/** The elements of a list field, in lower case, without empty ones (RFC 9110 §5.6.1.2). */
export function tokensOf(fields: Fields, wanted: string): string[] {
  return valuesOf(fields, wanted)
    .flatMap((value) => value.split(','))
    .map((token) => trimOws(token).toLowerCase())
    .filter((token) => token !== '');
}

/** Without those whose names, in lower case, are in the set. */
export function without(fields: Fields, dropped: ReadonlySet<string>): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? '';
    if (!dropped.has(name.toLowerCase())) kept.push(name, fields[i + 1] ?? '');
  }
  return kept;
}

/** A whole head, whose bytes are its chars. `startLine`: without its end. */
export function serialiseHead(startLine: string, fields: Fields): Buffer {
  let text = `${startLine}\r\n`;
  for (let i = 0; i + 1 < fields.length; i += 2) text += `${fields[i]}: ${fields[i + 1]}\r\n`;
  return Buffer.from(`${text}\r\n`, 'latin1');
}
