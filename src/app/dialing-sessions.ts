/** Sessions whose streams are dialled from here, within what access control and the limits of the process allow. */
import type { Identity } from '../crypto/keys.ts';
import { importKeyPair } from '../crypto/x25519.ts';
import { createExit } from '../exit/exit.ts';
import { createOwnEndpoints } from '../exit/own-endpoints.ts';
import type { PublicAddresses } from '../exit/public-addresses.ts';
import type { Resolver } from '../exit/resolver.ts';
import { DEFAULT_MUX_CONFIG, type MuxConfig } from '../mux/config.ts';
import type { Logger } from '../observability/logger.ts';
import { loadOrCreateIdentity } from '../state/identity-file.ts';
import type { ProcessLimits } from '../state/limits-file.ts';
import { type RetiredKeys, readRetiredKeys } from '../state/retired-keys.ts';
import type { StateDir } from '../state/state-dir.ts';
import type { UsageFile } from '../state/usage-file.ts';
import { ExitSessions } from '../tunnel/session/exit-sessions.ts';
import type { AccessControl } from './access-control.ts';

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
  readonly access: AccessControl;
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
    peerOf: (sessionKey) => access.clientOf(sessionKey),
    retired: retired.map((keys) => ({
      keys: importKeyPair(keys.identity.exposeSessionKey()),
      peerOf: (sessionKey) => access.retiredPeerOf(keys, sessionKey),
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

/** Of what a session may hold, 32 parts are for what it can be sent, one is for what it has to send: as by default. */
export function muxLimits({ streams, opens, session_memory: memory }: ProcessLimits): Partial<Omit<MuxConfig, 'role'>> {
  const { maxControlFrames } = DEFAULT_MUX_CONFIG;
  return {
    ...(streams !== undefined && { maxStreams: streams, maxControlFrames: Math.max(maxControlFrames, 3 * streams) }),
    ...(opens !== undefined && { openRate: { perSecond: opens, burst: 2 * opens } }),
    ...(memory !== undefined && { sessionWindowBytes: (memory / 33) * 32, sendBudgetBytes: memory / 33 }),
  };
}
