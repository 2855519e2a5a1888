/** The gate of a relay without links: which tickets it opens. */
import { join } from 'node:path';
import { RelayRouter } from '../../../src/app/relay-routing.ts';
import { ReplayGuard } from '../../../src/crypto/replay-guard.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { RendezvousCounts } from '../../../src/relay/rendezvous-counts.ts';
import { loadKnownExits } from '../../../src/state/known-exits.ts';
import { openStateDir } from '../../../src/state/state-dir.ts';
import { atEnd } from '../scope.ts';
import { tempDir } from '../temp-dir.ts';

type Options = ConstructorParameters<typeof RelayRouter>[0];

export async function newRouter(options: Pick<Options, 'keys' | 'access'> & Partial<Options>): Promise<RelayRouter> {
  const router = new RelayRouter({
    known: await loadKnownExits(await openStateDir(join(await tempDir(), 'state')), silentLogger),
    instance: '0f'.repeat(16),
    replays: new ReplayGuard(),
    audiences: { has: () => true },
    sessions: undefined,
    isOverloaded: () => false,
    linksFree: () => 1,
    linksKept: () => 0,
    logger: silentLogger,
    counts: new RendezvousCounts(),
    ...options,
  });
  atEnd(() => router.close(0));
  return router;
}
