/**
 * What sessions without streams cost a relay: with their clients connected, and after those are gone without a close.
 */
import { expect, it } from 'vitest';
import type { SessionDriver } from '../../src/tunnel/session/session-driver.ts';
import { beginAll, crowdedRelay, SESSIONS_OF_BEARER } from '../support/programs/crowded-relay.ts';
import { probeEnv, usedBytes } from '../support/programs/heap.ts';
import type { RunningRelay } from '../support/programs/wstun-stack.ts';
import { until } from '../support/until.ts';

/** So many that a megabyte for what is compiled meanwhile, as on Node 24 and 26, hides no session's cost. */
const SESSIONS = 768;
/** docs/limits.md says 9 and 4 KB; what is compiled meanwhile counts too. */
const IDLE_LIMIT_BYTES = 10_000;
const DETACHED_LIMIT_BYTES = 6_000;

async function loseLinks(relay: RunningRelay, sessions: readonly SessionDriver[]): Promise<void> {
  const connected = relay.process.openDescriptors();
  for (const session of sessions) session.dropLinks();
  await until(() => relay.process.openDescriptors() <= connected - sessions.length, 20_000);
}

it('an idle session costs the relay 10 KB at most, one without a link 6 KB', { timeout: 300_000 }, async () => {
  const { relay, invites } = await crowdedRelay((2 * SESSIONS) / SESSIONS_OF_BEARER, { env: probeEnv() });
  // The first ones also cost what is compiled once.
  await loseLinks(relay, await beginAll(invites.splice(0, SESSIONS / SESSIONS_OF_BEARER)));
  const before = await usedBytes(relay.process);
  const sessions = await beginAll(invites);
  const idle = ((await usedBytes(relay.process)) - before) / SESSIONS;
  await loseLinks(relay, sessions);
  const detached = ((await usedBytes(relay.process)) - before) / SESSIONS;
  for (const session of sessions) session.end('session-closed');
  expect(idle).toBeLessThan(IDLE_LIMIT_BYTES);
  expect(detached).toBeLessThan(DETACHED_LIMIT_BYTES);
  // Else it was not them that were measured.
  expect(idle).toBeGreaterThan(detached);
  expect(detached).toBeGreaterThan(1_000);
});
