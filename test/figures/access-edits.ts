/** Changes of an access list, and streams without end, for the figures about the limits of a name. */
import { readFile, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { RunningRelay } from '../support/programs/wstun-stack.ts';
import { until } from '../support/until.ts';

/** Within which a change must have taken effect. */
const PROMISED_MS = 2_000;
const BLOCK = Buffer.alloc(64 * 1024, 'limits');

/** Resolves when the relay has taken over the change. */
export async function edit({ state, process }: RunningRelay, from: string, to: string): Promise<void> {
  const reloads = () => process.stderr.split('access list reloaded').length;
  const before = reloads();
  const file = join(state, 'access.toml');
  const lines = (await readFile(file, 'utf8')).split('\n');
  // The comment at its head has examples.
  await writeFile(file, lines.map((line) => (line.startsWith('#') ? line : line.replace(from, to))).join('\n'));
  await until(() => reloads() > before, PROMISED_MS);
}

/** Writes without end, as fast as the other side reads. */
export function flood(socket: Socket): void {
  const more = () => {
    while (!socket.destroyed && socket.write(BLOCK));
  };
  socket.on('drain', more);
  more();
}
