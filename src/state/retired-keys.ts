/**
 * `retired.json` in a state directory: the keys that `wstun keys rotate` replaced, and the peers whose invites were
 * valid with them. So for a while the peer of an old invite is told why it fails. Nothing opens with these keys. A
 * secret: someone who steals it can impersonate what the old invites expect, as before the rotation.
 */
import {
  createIdentity,
  formatIdentitySecret,
  formatPublicIdentity,
  type Identity,
  parseIdentitySecret,
  parsePublicIdentity,
} from '../crypto/keys.ts';
import type { AccessEntry } from './access-list.ts';
import { loadIdentity, replaceIdentity } from './identity-file.ts';
import { type ExitKeys, exitsOf, readExits } from './known-exits.ts';
import { MAX_FILE_BYTES, type StateDir } from './state-dir.ts';

const NAME = 'retired.json';
/** After that, an old invite fails without a reason. */
export const RETIRED_DAYS = 30;
/** Each costs a look-up for a stranger's ticket, and at an exit a key agreement for a client that pins none of them. */
const MAX_RETIRED = 4;
const DAY_MS = 86_400_000;

export type RetiredPeer = Pick<AccessEntry, 'name' | 'role' | 'key'>;

export interface RetiredKeys {
  readonly identity: Identity;
  /** Milliseconds since 1970. */
  readonly until: number;
  /** As the access list was. */
  readonly peers: readonly RetiredPeer[];
  /** What exits had announced. */
  readonly exits: ExitKeys;
}

/** The newest first. An unreadable file counts as empty: it only explains. @throws WstunError state-unusable */
export async function readRetiredKeys(state: StateDir, now: number): Promise<readonly RetiredKeys[]> {
  const text = await state.read(NAME, { secret: true });
  return (text === undefined ? [] : parse(text)).filter(({ until }) => now < until);
}

/**
 * Keeps the old keys for `RETIRED_DAYS`; with `forget` none. `next` replaces them (default: new ones).
 * @throws WstunError state-unusable, identity-damaged
 */
export async function rotateKeys(
  state: StateDir,
  peers: readonly RetiredPeer[],
  options: { readonly now: number; readonly forget: boolean; readonly next?: Identity },
): Promise<void> {
  const { now, forget, next = createIdentity() } = options;
  await state.locked(async () => {
    const identity = await loadIdentity(state);
    const exits = (await readExits(state)) ?? new Map();
    const retired = { identity, until: now + RETIRED_DAYS * DAY_MS, peers, exits };
    // Before the new keys: a process that sees those finds the old ones here.
    await state.write(NAME, format(forget ? [] : [retired, ...(await readRetiredKeys(state, now))]));
    await replaceIdentity(state, next);
  });
}

/**
 * Keeps keys that were replaced by a copy of another directory's `identity.key`.
 * @throws WstunError state-unusable
 */
export async function keepRetired(state: StateDir, retired: RetiredKeys, now: number): Promise<void> {
  await state.locked(async () => {
    const key = formatPublicIdentity(retired.identity.public);
    const others = (await readRetiredKeys(state, now)).filter(
      ({ identity }) => formatPublicIdentity(identity.public) !== key,
    );
    await state.write(NAME, format([retired, ...others]));
  });
}

/** As many as fit into a file. */
function format(all: readonly RetiredKeys[]): string {
  const lines: string[] = [];
  let bytes = 3;
  for (const { identity, until, peers, exits } of all.slice(0, MAX_RETIRED)) {
    const line = JSON.stringify({
      secret: formatIdentitySecret(identity),
      until,
      bearers: peers.map(({ name, role, key }) => ({ name, role, key: formatPublicIdentity(key) })),
      exits: Object.fromEntries(exits),
    });
    bytes += line.length + 2;
    if (bytes <= MAX_FILE_BYTES) lines.push(line);
  }
  return `[${lines.join(',\n')}]\n`;
}

function parse(text: string): RetiredKeys[] {
  try {
    const parsed: unknown = JSON.parse(text);
    return Array.isArray(parsed) ? parsed.map(retiredOf) : [];
  } catch {
    return [];
  }
}

/** @throws if the value has another form */
function retiredOf(value: unknown): RetiredKeys {
  const { secret, until, bearers: peers, exits } = value as Readonly<Record<string, unknown>>;
  const keysOfExits = exitsOf(exits);
  if (typeof until !== 'number' || !Array.isArray(peers) || keysOfExits === undefined) throw new TypeError(NAME);
  return { identity: parseIdentitySecret(String(secret)), until, peers: peers.map(peerOf), exits: keysOfExits };
}

function peerOf(value: unknown): RetiredPeer {
  const { name, role, key } = value as Readonly<Record<string, unknown>>;
  return { name: String(name), role: role === 'exit' ? 'exit' : 'client', key: parsePublicIdentity(String(key)) };
}
