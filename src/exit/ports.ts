/** Lists of ports, as rules write them: (PORT | FIRST`-`LAST), separated by commas. Pure. */

/** Both included, 1 to 65535. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** Throws, with what is wrong. */
export type Fail = (why: string) => never;

/** Rising, without overlaps. */
export function parsePorts(text: string, fail: Fail): readonly PortRange[] {
  return mergeRanges(text.split(',').map((item) => parsePortRange(item, fail)));
}

function parsePortRange(text: string, fail: Fail): PortRange {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (!match) return fail(`${JSON.stringify(text.slice(0, 40))} is not a port or a range FIRST-LAST`);
  const first = Number(match[1]);
  const last = match[2] === undefined ? first : Number(match[2]);
  if (first < 1 || last < 1 || first > 65_535 || last > 65_535) fail('a port must be 1 to 65535');
  if (first > last) fail(`the range ${text} is in reverse order; write ${last}-${first}`);
  return { first, last };
}

export function mergeRanges(ranges: readonly PortRange[]): PortRange[] {
  const merged: PortRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.first - b.first)) {
    const before = merged.at(-1);
    if (!before || range.first > before.last + 1) merged.push(range);
    else merged[merged.length - 1] = { first: before.first, last: Math.max(before.last, range.last) };
  }
  return merged;
}

export function includesPort(ranges: readonly PortRange[], port: number): boolean {
  return ranges.some(({ first, last }) => first <= port && port <= last);
}
