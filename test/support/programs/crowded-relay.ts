/** Many sessions at one relay, from this process: without proxies, each is only its own end of a session. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { accessFile, relayIssuer } from '../../../src/app/invites.ts';
import type { Invite } from '../../../src/crypto/invite.ts';
import { createIdentity } from '../../../src/crypto/keys.ts';
import { DEFAULT_MUX_CONFIG } from '../../../src/mux/config.ts';
import { DEFAULT_RESUME_CONFIG } from '../../../src/mux/links/resume-config.ts';
import { RetransmitMemory } from '../../../src/mux/links/retransmit-store.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { loadOrCreateIdentity } from '../../../src/state/identity-file.ts';
import { openStateDir } from '../../../src/state/state-dir.ts';
import { RelaySessionDialer } from '../../../src/tunnel/dial/session-dialer.ts';
import { SessionDriver } from '../../../src/tunnel/session/session-driver.ts';
import { tempDir } from '../temp-dir.ts';
import { type RelayOptions, type RunningRelay, startRelay } from './wstun-stack.ts';

/** As many as a relay keeps of one peer when their links are lost. */
export const SESSIONS_OF_BEARER = 16;

/** A relay that knows many clients, and the invites of these. */
export async function crowdedRelay(
  peers: number,
  { allow = [], ...options }: Omit<RelayOptions, 'state'> & { readonly allow?: readonly string[] } = {},
): Promise<{ relay: RunningRelay; invites: Invite[] }> {
  const state = await openStateDir(join(await tempDir(), 'state'));
  const { identity } = await loadOrCreateIdentity(state);
  const known = Array.from({ length: peers }, () => createIdentity());
  const file = accessFile(state);
  for (const [i, peer] of known.entries())
    await file.add({
      name: `peer${i}`,
      key: peer.public,
      role: 'client',
      allow,
      limits: { sessions: SESSIONS_OF_BEARER },
    });
  const relay = await startRelay({ ...options, state: state.path });
  return { relay, invites: known.map((peer) => ({ ...relayIssuer(identity, [relay.url]), peer })) };
}

/** Resolves when both ends have said hello. */
async function begin(dialer: RelaySessionDialer): Promise<SessionDriver> {
  const request = { kind: 'begin', id: randomBytes(16), received: 0 } as const;
  const { link, ...start } = await dialer.dial(() => request, new AbortController().signal);
  return await new Promise((resolve, reject) => {
    const driver = new SessionDriver(
      {
        mux: { ...DEFAULT_MUX_CONFIG, role: 'client' },
        resume: DEFAULT_RESUME_CONFIG,
        replayMemory: new RetransmitMemory(1024 * 1024),
        logger: silentLogger,
      },
      { onEstablished: () => resolve(driver), onEnd: reject },
    );
    driver.attachLink(link, start);
  });
}

export async function beginAll(invites: readonly Invite[]): Promise<SessionDriver[]> {
  const sessions: SessionDriver[] = [];
  for (const invite of invites) {
    const dialer = new RelaySessionDialer(invite, 'on', silentLogger);
    sessions.push(...(await Promise.all(Array.from({ length: SESSIONS_OF_BEARER }, () => begin(dialer)))));
  }
  return sessions;
}
