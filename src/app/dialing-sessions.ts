/** Sessions whose streams are dialled from here, within what access control and the limits of the process allow. */
import { importKeyPair } from '../crypto/x25519.ts';
import { createOwnEndpoints } from '../exit/own-endpoints.ts';
import { Exit } from '../exit/serving/exit.ts';
import { DEFAULT_MUX_CONFIG, type MuxConfig } from '../mux/config.ts';
import type { Logger } from '../observability/logger.ts';
import type { ProcessLimits } from '../state/limits-file.ts';
import { ExitSessions, type ToldRelays } from '../tunnel/session/exit-sessions.ts';
import type { SessionPlaces } from '../tunnel/session/session-places.ts';
import type { Dialling } from './dial-options.ts';
import type { ServingCounts } from './serving-counts.ts';
import type { ServingState } from './serving-state.ts';

interface DialingSessionsOptions {
  readonly serving: ServingState;
  readonly dialling: Dialling;
  /** Of this machine, that no client may reach through the exit. Asked at every dial. */
  readonly ownPorts: () => number[];
  readonly isShortOfLinks?: () => boolean;
  readonly resumeWindowMs?: number | undefined;
  /** As of ExitSessionsOptions. */
  readonly relays: () => ToldRelays | undefined;
  readonly places?: SessionPlaces | undefined;
  readonly logger: Logger;
  readonly counts: ServingCounts;
}

/** By the keys as they are now. @throws WstunError interfaces-hidden */
export function createSessions(options: DialingSessionsOptions): ExitSessions {
  const { serving, isShortOfLinks, resumeWindowMs, places, relays, logger, counts } = options;
  const { access, keys, isOverloaded } = serving;
  return new ExitSessions({
    keys: importKeyPair(keys.identity.exposeSessionKey()),
    peerOf: (sessionKey) => access.clientOf(sessionKey),
    retired: keys.retired.map((old) => ({
      keys: importKeyPair(old.identity.exposeSessionKey()),
      peerOf: (sessionKey) => access.retiredPeerOf(old, sessionKey),
    })),
    maxSessionsOf: (peer) => access.maxSessionsOf(peer),
    isOverloaded,
    ...(isShortOfLinks && { isShortOfLinks }),
    mux: muxLimits(serving.limits),
    acceptor: createDialer(options),
    logger,
    places,
    relays,
    // They share their rate.
    isTogether: (peer) => access.rateOf(peer) !== undefined,
    counts: counts.sessions,
    ...(resumeWindowMs !== undefined && { resumeWindowMs }),
  });
}

function createDialer({ serving, dialling, ownPorts, logger, counts }: DialingSessionsOptions): Exit {
  const { access, usage, limits, isOverloaded, isShortOfDescriptors } = serving;
  const { resolver, publicAddresses, dial } = dialling;
  return new Exit({
    isOverloaded: () => isOverloaded() || isShortOfDescriptors(),
    limits: {
      ...(limits.dials !== undefined && { pendingPerPeer: limits.dials }),
      ...(limits.all_dials !== undefined && { pendingTotal: limits.all_dials }),
    },
    resolver,
    counts: counts.streams,
    ...(dial && { dial }),
    mayUseUdp: () => dialling.isDirect,
    rulesFor: (peer) => access.rulesFor(peer),
    listenRulesFor: (peer) => access.listenRulesFor(peer),
    rateOf: (peer) => access.rateOf(peer),
    quotas: {
      isUsedUp: (peer) => usage.usedBy(peer) >= (access.quotaOf(peer) ?? Number.POSITIVE_INFINITY),
      count: (peer, bytes) => usage.add(peer, bytes),
    },
    ownEndpoints: createOwnEndpoints({ ports: ownPorts, publicAddresses: () => publicAddresses.all }),
    logger,
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
