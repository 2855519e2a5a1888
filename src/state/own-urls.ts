/**
 * `own-urls.toml`: by which URLs clients reach this relay, or did: a relay opens no tickets for others
 * (docs/protocol.md §2.2, "Audience"). So invites go on working after its URL has changed. A file of its own: earlier
 * versions write relay.toml and invites.toml without it. It counts only in the directory in which it was written: a
 * copy of that is how relays come to share keys, and the URLs of the one are not those of the other.
 */
import { parse, TomlError } from 'smol-toml';
import { parseRelayUrl } from '../crypto/relay-url.ts';
import { WstunError } from '../errors.ts';
import type { StateDir } from './state-dir.ts';

export const OWN_URLS_FILE = 'own-urls.toml';
/** Those that were written longest ago make room. */
export const MAX_OWN_URLS = 16;

const HEADER = `# By which URLs clients reach this relay, or did, the latest first: it opens no tickets that are for others.
# \`wstun relay\` and \`wstun access add --url\` write them. A copy of this file in another directory does not count.
`;

interface Settings {
  readonly urls: readonly string[];
  /** As of `StateDir.origin`. */
  readonly directory: string;
}

/** The latest first; none if the file is a copy. @throws WstunError state-unusable */
export async function readOwnUrls(state: StateDir): Promise<readonly string[]> {
  const text = await state.read(OWN_URLS_FILE, { secret: false });
  if (text === undefined) return [];
  const settings = parseSettings(text);
  if (settings === undefined)
    throw new WstunError(
      'state-unusable',
      `${state.pathOf(OWN_URLS_FILE)} is damaged; delete it, and give the relay its earlier URLs by --own-url`,
    );
  return settings.directory === (await state.origin()) ? settings.urls : [];
}

/**
 * Puts a URL in front. Returns all.
 * @param others URLs that are those of other relays now
 * @throws WstunError state-unusable
 */
export async function rememberOwnUrl(
  state: StateDir,
  url: string,
  others: readonly string[] = [],
): Promise<readonly string[]> {
  const merged = (before: readonly string[]): readonly string[] =>
    [...new Set([url, ...before.filter((each) => !others.includes(each))])].slice(0, MAX_OWN_URLS);
  const known = await readOwnUrls(state);
  if (known.join('\n') === merged(known).join('\n')) return known;
  return await state.locked(async () => {
    const all = merged(await readOwnUrls(state));
    const lines = all.map((each) => `  ${JSON.stringify(each)},\n`).join('');
    const directory = `directory = ${JSON.stringify(await state.origin())}\n`;
    await state.write(OWN_URLS_FILE, `${HEADER}urls = [\n${lines}]\n${directory}`);
    return all;
  });
}

function parseSettings(text: string): Settings | undefined {
  try {
    const { urls, directory } = parse(text);
    if (!Array.isArray(urls) || !urls.every((each) => typeof each === 'string')) return undefined;
    if (typeof directory !== 'string') return undefined;
    return { urls: urls.map(parseRelayUrl).slice(0, MAX_OWN_URLS), directory };
  } catch (error) {
    if (error instanceof TomlError || error instanceof WstunError) return undefined;
    throw error;
  }
}
