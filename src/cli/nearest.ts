/** The known word that was probably meant. Pure. */

/** Of a word of six letters two may be wrong. */
const WRONG_SHARE = 0.4;
const MAX_CHARS = 64;

export function nearest(word: string, known: Iterable<string>): string | undefined {
  // Nobody mistypes a name by so much; the cost grows with the length.
  if (word.length > MAX_CHARS) return undefined;
  let best: string | undefined;
  let least = Math.max(1, Math.ceil(word.length * WRONG_SHARE)) + 1;
  for (const each of known) {
    const wrong = distance(word.toLowerCase(), each.toLowerCase());
    if (wrong < least) [best, least] = [each, wrong];
  }
  return best;
}

/** Characters to insert, remove, replace or swap with the next (Damerau-Levenshtein, optimal string alignment). */
function distance(from: string, to: string): number {
  let before: number[] = [];
  let row = Array.from({ length: to.length + 1 }, (_, at) => at);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const same = from[i - 1] === to[j - 1] ? 0 : 1;
      let cost = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + same);
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1])
        cost = Math.min(cost, (before[j - 2] ?? 0) + 1);
      next.push(cost);
    }
    [before, row] = [row, next];
  }
  return row[to.length] ?? 0;
}
