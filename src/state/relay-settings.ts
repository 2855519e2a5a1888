/** `relay.toml`: the public URL of a relay, so that `wstun access add` can print invites while the relay itself runs. */
import { parse, TomlError } from 'smol-toml';
import { parseRelayUrl } from '../crypto/relay-url.ts';
import { WstunError } from '../errors.ts';
import type { StateDir } from './state-dir.ts';

const NAME = 'relay.toml';
const HEADER = '# Written by "wstun relay" when it starts: where clients reach it. Invites are made with it.\n';

/**
 * The URL that the relay remembered last; undefined if it never did.
 * @throws WstunError state-unusable
 */
export async function readRelayUrl(state: StateDir): Promise<string | undefined> {
  const text = await state.read(NAME, { secret: false });
  if (text === undefined) return undefined;
  const url = parseSettings(text);
  if (url === undefined)
    throw new WstunError('state-unusable', `${state.pathOf(NAME)} must hold one line: url = "wss://…"`);
  return url;
}

/** @throws WstunError bad-url, state-unusable */
export async function saveRelayUrl(state: StateDir, url: string): Promise<void> {
  const text = `${HEADER}url = ${JSON.stringify(parseRelayUrl(url))}\n`;
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
