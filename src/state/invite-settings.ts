/**
 * `invites.toml`: what a relay's invites have besides the URL in relay.toml, so that `wstun access add` can print them
 * while the relay runs. A file of its own, because earlier versions accept no other key in relay.toml.
 */
import { parse, TomlError } from 'smol-toml';
import { parseRelayUrl } from '../crypto/relay-url.ts';
import { WstunError } from '../errors.ts';
import type { StateDir } from './state-dir.ts';

const NAME = 'invites.toml';
const HEADER =
  '# Further URLs of this relay, and the pins of its TLS key. `wstun relay` writes them; invites are made with them.\n';
/** SHA-256 of a key, as curl writes it. */
const PIN = /^sha256\/[A-Za-z0-9+/]{43}=$/;

export interface InviteSettings {
  /** The URL in relay.toml to which the others belong. */
  readonly url: string;
  readonly moreUrls: readonly string[];
  readonly pins: readonly string[];
}

const KEYS = { url: 'url', moreUrls: 'more_urls', pins: 'tls_pins' } as const;

/** Undefined if none were saved. @throws WstunError state-unusable */
export async function readInviteSettings(state: StateDir): Promise<InviteSettings | undefined> {
  const text = await state.read(NAME, { secret: false });
  if (text === undefined) return undefined;
  const settings = parseSettings(text);
  if (settings === undefined)
    throw new WstunError('state-unusable', `${state.pathOf(NAME)} is damaged; delete it, and start the relay again`);
  return settings;
}

/** @throws WstunError state-unusable */
export async function saveInviteSettings(state: StateDir, settings: InviteSettings): Promise<void> {
  const lines = Object.entries(KEYS).map(
    ([name, key]) => `${key} = ${JSON.stringify(settings[name as keyof InviteSettings])}\n`,
  );
  const text = HEADER + lines.join('');
  const isEmpty = settings.moreUrls.length === 0 && settings.pins.length === 0;
  const before = await state.read(NAME, { secret: false });
  if (before === text || (isEmpty && before === undefined)) return;
  if (isEmpty) await state.remove(NAME);
  else await state.write(NAME, text);
}

function parseSettings(text: string): InviteSettings | undefined {
  try {
    const { [KEYS.url]: url, [KEYS.moreUrls]: moreUrls, [KEYS.pins]: pins } = parse(text);
    if (typeof url !== 'string' || !areTexts(moreUrls) || !areTexts(pins)) return undefined;
    if (!pins.every((pin) => PIN.test(pin))) return undefined;
    return { url: parseRelayUrl(url), moreUrls: moreUrls.map(parseRelayUrl), pins };
  } catch (error) {
    if (error instanceof TomlError || error instanceof WstunError) return undefined;
    throw error;
  }
}

function areTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}
