/** `relay.toml`: a relay's public URL, so that `wstun access add` can print invites while the relay runs. */
import { parse, TomlError } from 'smol-toml';
import { parseRelayUrl } from '../crypto/relay-url.ts';
import { WstunError } from '../errors.ts';
import type { StateDir } from './state-dir.ts';

const NAME = 'relay.toml';
/** The source is noted as a comment: earlier versions accept no other key in this file. */
const HEADERS = {
  given:
    '# Where clients reach this relay, as given with --url: kept until another is given. Invites are made with it.\n',
  guessed:
    '# Where clients reach this relay, guessed from where it listens: --url says otherwise. Invites are made with it.\n',
} as const;

/** `unknown`: written by a version that did not note it. */
type UrlSource = keyof typeof HEADERS | 'unknown';

export interface RememberedUrl {
  readonly url: string;
  readonly source: UrlSource;
}

/** The URL that was saved last; undefined if none was. @throws WstunError state-unusable */
export async function readRelayUrl(state: StateDir): Promise<RememberedUrl | undefined> {
  const text = await state.read(NAME, { secret: false });
  if (text === undefined) return undefined;
  const url = parseSettings(text);
  if (url === undefined)
    throw new WstunError('state-unusable', `${state.pathOf(NAME)} must contain one line: url = "wss://…"`);
  if (text.startsWith(HEADERS.given)) return { url, source: 'given' };
  return { url, source: text.startsWith(HEADERS.guessed) ? 'guessed' : 'unknown' };
}

/** @throws WstunError bad-url, state-unusable */
export async function saveRelayUrl(state: StateDir, url: string, source: 'given' | 'guessed'): Promise<void> {
  const text = `${HEADERS[source]}url = ${JSON.stringify(parseRelayUrl(url))}\n`;
  if ((await state.read(NAME, { secret: false })) !== text) await state.write(NAME, text);
}

function parseSettings(text: string): string | undefined {
  try {
    const { url, ...rest } = parse(text);
    return typeof url === 'string' && Object.keys(rest).length === 0 ? parseRelayUrl(url) : undefined;
  } catch (error) {
    if (error instanceof TomlError || error instanceof WstunError) return undefined;
    throw error;
  }
}
