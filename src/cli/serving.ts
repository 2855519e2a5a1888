/**
 * What `wstun relay` and `wstun exit` have in common: an access list that is followed while it changes, and an exit
 * that obeys it.
 */
import { formatPublicIdentity, type Identity } from '../crypto/keys.ts';
import { importKeyPair } from '../crypto/x25519.ts';
import { createExit } from '../exit/exit.ts';
import { createOwnEndpoints } from '../exit/own-endpoints.ts';
import type { PublicAddresses } from '../exit/public-addresses.ts';
import type { Resolver } from '../exit/resolver.ts';
import { parseRule, type Rule } from '../exit/rules.ts';
import { DEFAULT_MUX_CONFIG, type MuxConfig } from '../mux/config.ts';
import type { Logger } from '../observability/logger.ts';
import type { AccessFile } from '../state/access-file.ts';
import { DEFAULT_SESSIONS, type EntryLimits } from '../state/access-limits.ts';
import type { AccessEntry } from '../state/access-list.ts';
import { type AccessWatch, watchAccess } from '../state/access-watch.ts';
import { loadOrCreateIdentity } from '../state/identity-file.ts';
import type { ProcessLimits } from '../state/limits-file.ts';
import { type RetiredKeys, readRetiredKeys } from '../state/retired-keys.ts';
import type { StateDir } from '../state/state-dir.ts';
import type { UsageFile } from '../state/usage-file.ts';
import { ExitSessions } from '../tunnel/session/exit-sessions.ts';

/** The access list as it stands: who may come, and what is open to them. */
export class LiveAccess {
  private list: readonly AccessEntry[] = [];
  private readonly rules = new Map<string, readonly Rule[]>();
  private readonly limits = new Map<string, EntryLimits>();
  private readonly peers = new Map<string, string>();

  get entries(): readonly AccessEntry[] {
    return this.list;
  }

  rulesFor(peer: string): readonly Rule[] {
    return this.rules.get(peer) ?? [];
  }

  maxSessionsOf(peer: string): number {
    return this.limits.get(peer)?.sessions ?? DEFAULT_SESSIONS;
  }

  /** Bits a second; undefined: no limit. */
  rateOf(peer: string): number | undefined {
    return this.limits.get(peer)?.rate;
  }

  /** Bytes a month; undefined: no limit. */
  quotaOf(peer: string): number | undefined {
    return this.limits.get(peer)?.quota;
  }

  /** The client of a session public key. */
  peerOf(sessionKey: Uint8Array): string | undefined {
    return this.peers.get(hexOf(sessionKey));
  }

  /** Returns the names that were there before with the same key and role: what they have may go on. */
  replace(entries: readonly AccessEntry[]): Set<string> {
    const before = new Set(this.list.map(standingOf));
    this.list = entries;
    this.rules.clear();
    this.limits.clear();
    this.peers.clear();
    for (const { name, key, role, allow, limits = {} } of entries) {
      if (role === 'exit') continue;
      this.rules.set(name, allow.map(parseRule));
      this.limits.set(name, limits);
      this.peers.set(hexOf(key.session), name);
    }
    return new Set(entries.filter((entry) => before.has(standingOf(entry))).map(({ name }) => name));
  }
}

/**
 * Reads the list, and follows it from then on. `onChange` is called for the first list too; `kept` are the names that
 * were there before with the same key.
 * @throws WstunError state-unusable, access-malformed
 */
export async function followAccess(
  file: AccessFile,
  access: LiveAccess,
  logger: Logger,
  onChange: (kept: ReadonlySet<string>) => void,
): Promise<AccessWatch> {
  const watch = await watchAccess(file, {
    handleChange: (entries) => {
      onChange(access.replace(entries));
      logger.info({ entries: entries.length }, 'access list reloaded');
    },
    handleFault: (fault) => logger.error({ code: fault.code }, fault.message),
  });
  onChange(access.replace(watch.entries));
  return watch;
}

/** Of what a session may hold, 32 parts are for what it can be sent, one is for what it has to send: as by default. */
export function muxLimits({ streams, opens, session_memory: memory }: ProcessLimits): Partial<Omit<MuxConfig, 'role'>> {
  const { maxControlQueue } = DEFAULT_MUX_CONFIG;
  return {
    ...(streams !== undefined && { maxStreams: streams, maxControlQueue: Math.max(maxControlQueue, 3 * streams) }),
    ...(opens !== undefined && { openRate: { perSecond: opens, burst: 2 * opens } }),
    ...(memory !== undefined && { sessionWindow: (memory / 33) * 32, sendBudget: memory / 33 }),
  };
}

/**
 * Of keys that were rotated, whoever may be told so: a name that was removed since is a stranger, and in the end
 * everybody.
 */
export function currentPeers({ peers, until }: RetiredKeys, access: LiveAccess): RetiredKeys['peers'] {
  if (Date.now() >= until) return [];
  const standing = new Set(access.entries.map(placeOf));
  return peers.filter((peer) => standing.has(placeOf(peer)));
}

/**
 * The identity of a directory and those before it, newest first. @throws WstunError state-unusable, identity-damaged
 */
export async function loadKeys(state: StateDir): Promise<Keys> {
  const { identity } = await loadOrCreateIdentity(state);
  return { identity, retired: await readRetiredKeys(state, Date.now()) };
}

export interface Keys {
  readonly identity: Identity;
  readonly retired: readonly RetiredKeys[];
}

export interface ServingOptions extends Keys {
  readonly access: LiveAccess;
  readonly usage: UsageFile;
  readonly logger: Logger;
  /** Of this machine, that no client may reach through the exit. */
  readonly ownPorts: () => number[];
  /** Of this machine as it is seen from outside. */
  readonly publicAddresses: PublicAddresses;
  readonly resolver: Resolver;
  /** How long a session without a link is kept, ms. */
  readonly resumeWindow?: number | undefined;
  readonly limits: ProcessLimits;
  readonly isOverloaded: () => boolean;
  /** True while new streams would take what descriptors are left. */
  readonly isShortOfDescriptors: () => boolean;
}

/** Sessions whose streams are dialled from here. */
export function createSessions({
  identity,
  retired,
  access,
  usage,
  logger,
  ownPorts,
  publicAddresses,
  resolver,
  resumeWindow,
  limits,
  isOverloaded,
  isShortOfDescriptors,
}: ServingOptions): ExitSessions {
  return new ExitSessions({
    keys: importKeyPair(identity.exposeSessionKey()),
    peerOf: (sessionKey) => access.peerOf(sessionKey),
    retired: retired.map((keys) => ({
      keys: importKeyPair(keys.identity.exposeSessionKey()),
      peerOf: (sessionKey) =>
        currentPeers(keys, access).find(({ key }) => hexOf(key.session) === hexOf(sessionKey))?.name,
    })),
    maxSessionsOf: (peer) => access.maxSessionsOf(peer),
    isOverloaded,
    mux: muxLimits(limits),
    acceptor: createExit({
      isOverloaded: () => isOverloaded() || isShortOfDescriptors(),
      limits: {
        ...(limits.dials !== undefined && { pendingPerPeer: limits.dials }),
        ...(limits.all_dials !== undefined && { pendingTotal: limits.all_dials }),
      },
      resolver,
      rulesFor: (peer) => access.rulesFor(peer),
      rateOf: (peer) => access.rateOf(peer),
      quotas: {
        isUsedUp: (peer) => {
          const quota = access.quotaOf(peer);
          return quota !== undefined && usage.usedBy(peer) >= quota;
        },
        count: (peer, bytes) => usage.add(peer, bytes),
      },
      ownEndpoints: createOwnEndpoints({ ports: ownPorts, publicAddresses: () => publicAddresses.all }),
      logger,
    }),
    logger,
    ...(resumeWindow !== undefined && { resumeWindowMs: resumeWindow }),
  });
}

function placeOf({ name, role }: Pick<AccessEntry, 'name' | 'role'>): string {
  return `${role} ${name}`;
}

function standingOf({ name, key, role }: AccessEntry): string {
  return `${name} ${role} ${formatPublicIdentity(key)}`;
}

function hexOf(key: Uint8Array): string {
  return Buffer.from(key).toString('hex');
}
