/** Reads Proxy-Authenticate: lists of challenges (RFC 9110 §11.6.1). Pure. */

export interface Challenge {
  /** As the proxy writes it: NTLM, Digest … */
  readonly scheme: string;
  /** A token instead of parameters, as NTLM and Negotiate send; `` if there is none. */
  readonly token: string;
  /** Names in lower case; of two of the same name the first counts. */
  readonly parameters: ReadonlyMap<string, string>;
  /** All of it, as it came. */
  readonly text: string;
}

/** A proxy that offers more is not read further. */
const MAX_CHALLENGES = 16;

const NAME = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const SEPARATORS = /[\s,]*/y;
const SCHEME = new RegExp(`(${NAME})(?=\\s|,|$)`, 'y');
const TOKEN = /\s+([A-Za-z0-9._~+/-]+=*)(?=\s*(?:,|$))/y;
const PARAMETER = new RegExp(`[\\s,]*(${NAME})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s,"]*))`, 'y');

/** @param values of all header fields of that name. What cannot be read is left out. */
export function parseChallenges(values: readonly string[]): Challenge[] {
  return values.flatMap(parseList).slice(0, MAX_CHALLENGES);
}

function parseList(value: string): Challenge[] {
  const found: Challenge[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(value);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  while (found.length < MAX_CHALLENGES) {
    take(SEPARATORS);
    const start = at;
    const scheme = take(SCHEME)?.[1];
    if (scheme === undefined) return found;
    const token = take(TOKEN)?.[1] ?? '';
    const parameters = new Map<string, string>();
    for (let match = token === '' ? take(PARAMETER) : null; match !== null; match = take(PARAMETER)) {
      const [, name = '', quoted, plain = ''] = match;
      const key = name.toLowerCase();
      if (!parameters.has(key)) parameters.set(key, quoted === undefined ? plain : quoted.replace(/\\(.)/g, '$1'));
    }
    found.push({ scheme, token, parameters, text: value.slice(start, at) });
  }
  return found;
}
