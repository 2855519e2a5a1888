/**
 * The search list of the exit's machine (resolv.conf(5)): the full names for which a name is looked up, as by any
 * program there. Pure. Whether a full name is allowed is not decided here (policy.ts).
 *
 * More careful than glibc in one thing: a name with at least `ndots` dots is tried only as it is. Otherwise a search
 * domain could answer for every name of the public DNS that does not exist.
 */
import { isLocalhostName, isSpecialName } from './special-names.ts';
import { parseHostText } from './target-host.ts';

export interface SearchList {
  /** As target-host.ts makes names; at most 6. */
  readonly domains: readonly string[];
  /** A name with fewer dots is tried below the domains first. 0 to 15. */
  readonly ndots: number;
}

/** The limit of glibc until 2.26; each is another query for a name that does not exist. */
const MAX_DOMAINS = 6;
/** The resolver's own cap, RES_MAXNDOTS. */
const MAX_NDOTS = 15;

/** What counts besides the file. */
export interface SearchContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly hostname: string;
}

/**
 * `text` is the file's. The last of its `search` and `domain` lines counts; $LOCALDOMAIN overrides it, and without
 * either the domain is that of the host's own name. $RES_OPTIONS overrides `options`. Lines that are not understood are
 * skipped.
 */
export function parseSearchList(text: string, { env, hostname }: SearchContext): SearchList {
  let listed: readonly string[] | undefined;
  const options: string[] = [];
  for (const line of text.split(/\r?\n/)) {
    // A keyword is at the start of its line; any other line is a comment.
    const [, keyword, rest = ''] = /^([a-z]+)[ \t]+(.*)$/.exec(line) ?? [];
    const values = wordsOf(rest);
    if (keyword === 'search' && values.length > 0) listed = values;
    if (keyword === 'domain' && values.length > 0) listed = values.slice(0, 1);
    if (keyword === 'options') options.push(...values);
  }
  options.push(...wordsOf(env.RES_OPTIONS ?? ''));
  const [, ...ownDomain] = hostname.split('.');
  const domains = env.LOCALDOMAIN === undefined ? (listed ?? [ownDomain.join('.')]) : wordsOf(env.LOCALDOMAIN);
  return { domains: domains.flatMap(domainOf).slice(0, MAX_DOMAINS), ndots: ndotsOf(options) };
}

function wordsOf(text: string): string[] {
  return text.split(/[ \t]+/).filter((word) => word !== '');
}

/** The root (`.`) adds nothing, and what is not a name must not reach a name server. */
function domainOf(text: string): string[] {
  const host = parseHostText(text);
  return host.kind === 'name' ? [host.name] : [];
}

function ndotsOf(options: readonly string[]): number {
  const values = options.flatMap((option) => /^ndots:(\d{1,9})$/.exec(option)?.[1] ?? []);
  return Math.min(MAX_NDOTS, Number(values.at(-1) ?? 1));
}

/** The full names of `name`, itself included, as tried. It is as target-host.ts makes it, without a final dot. */
export function fullNamesOf(name: string, { domains, ndots }: SearchList): string[] {
  const dots = name.split('.').length - 1;
  const isRelative = dots === 0 || dots < ndots;
  // RFC 6761 §6.3, RFC 7686 §2: these must never reach the DNS, below any domain. A single label may be that of a host.
  if (!isRelative || isLocalhostName(name) || (dots > 0 && isSpecialName(name))) return [name];
  const below = domains.flatMap((domain) => domainOf(`${name}.${domain}`));
  return dots < ndots ? [...below, name] : [name, ...below];
}
