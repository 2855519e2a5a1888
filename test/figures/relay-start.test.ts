/**
 * How soon a relay listens that knows the keys of many clients from before its restart, and what these meet meanwhile.
 */

import { expect, it } from 'vitest';
import { createIdentity, type Identity } from '../../src/crypto/keys.ts';
import { parseListenRule } from '../../src/exit/listen/listen-rules.ts';
import { parseRule } from '../../src/exit/rules.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { addEntry } from '../../src/state/access-list.ts';
import { loadOrCreateIdentity } from '../../src/state/identity-file.ts';
import { openStateDir, type StateDir } from '../../src/state/state-dir.ts';
import { TicketDialer } from '../../src/tunnel/dial/ticket-dialer.ts';
import { LinkRecorder } from '../support/links/link-recorder.ts';
import { type RunningRelay, startRelay } from '../support/programs/wstun-stack.ts';
import { tempDir } from '../support/temp-dir.ts';

const PARSERS = { allow: parseRule, listen: parseListenRule };

const EXITS = ['a', 'b'];
const KEYS_OF_EXIT = 10_000;
/** Beside a relay that knows nobody, and without what a busy machine makes of both. */
const START_LIMIT_MS = 1_500;

/** A state directory whose exits had announced so many keys each, the last of them that of `last`. */
async function stateWith(keys: number, last: Identity): Promise<StateDir> {
  const state = await openStateDir(await tempDir());
  const entries = EXITS.map((name) =>
    addEntry(undefined, { name, key: createIdentity().public, role: 'exit', allow: [] }, PARSERS),
  );
  await state.write('access.toml', entries.join('\n'));
  const some = createIdentity().public.gate;
  // Keys of which nobody has the secret cost as much; numbers below the field's prime all are.
  const keyOf = (i: number): string => {
    const key = Buffer.from(some);
    key.writeUInt32LE(i, 0);
    return key.toString('base64url');
  };
  const lists = EXITS.map((_, exit) => Array.from({ length: keys }, (_, i) => keyOf(exit * keys + i)));
  if (keys > 0) lists.at(-1)?.splice(-1, 1, Buffer.from(last.public.gate).toString('base64url'));
  await state.write('exits.json', JSON.stringify(Object.fromEntries(EXITS.map((name, i) => [name, lists[i]]))));
  return state;
}

async function start(state: StateDir): Promise<{ relay: RunningRelay; ms: number }> {
  const begun = performance.now();
  const relay = await startRelay({ args: ['--no-exit'], state: state.path });
  return { relay, ms: performance.now() - begun };
}

it('a relay with 20,000 keys of its exits’ clients listens as soon as one without, and rejects none of them meanwhile', async () => {
  const peer = createIdentity();
  const empty = await start(await stateWith(0, peer));
  const state = await stateWith(KEYS_OF_EXIT, peer);
  const full = await start(state);
  const { identity } = await loadOrCreateIdentity(state);
  const dialer = new TicketDialer(
    { relayUrls: [full.relay.url], relayGateKey: identity.public.gate, peer },
    silentLogger,
  );
  const options = { signal: new AbortController().signal, timeoutMs: 60_000 };
  const link = await dialer.dial(full.relay.url, { role: 'client', destination: 'b' }, options);
  // That its exit is absent.
  await new LinkRecorder(link).untilMessages(1);
  link.abort();
  if (process.env.FIGURES !== undefined)
    process.stderr.write(
      `listens after ${Math.round(empty.ms)} ms, with 20,000 keys after ${Math.round(full.ms)} ms\n`,
    );
  expect(full.ms).toBeLessThan(START_LIMIT_MS + empty.ms);
}, 300_000);
