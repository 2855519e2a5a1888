/**
 * How long a person waits. The aims are 150 ms for `wstun --help` and 400 ms for a client beside its relay, on a machine
 * with nothing else to do (docs/operations.md). The bounds are four times as wide, and wider where Node alone takes
 * longer to start than on such a machine.
 */
import { expect, it } from 'vitest';
import { run } from '../support/programs/programs.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import { startClient, startRelay } from '../support/programs/wstun-stack.ts';

const ROUNDS = 10;
const HELP_LIMIT_MS = 4 * 150;
const CLIENT_LIMIT_MS = 4 * 400;
/** Of `node -e 0`, on a machine with nothing else to do. */
const NODE_MS = 40;

async function took(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

it('`wstun --help` is there, and a client of a relay beside it is ready, within four times what they should take', async () => {
  const relay = await startRelay();
  const node: number[] = [];
  const help: number[] = [];
  const client: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    node.push(await took(() => run(process.execPath, ['-e', '0'])));
    help.push(await took(() => wstun(['--help'])));
    client.push(
      await took(async () => {
        const { process } = await startClient(relay.invite ?? '');
        await process.kill();
      }),
    );
  }
  const slowness = Math.max(1, median(node) / NODE_MS);
  const shown = [node, help, client].map((values) => `${median(values).toFixed(0)} ms`);
  process.stdout.write(`node ${shown[0]}, --help ${shown[1]}, client ready ${shown[2]}\n`);
  expect(median(help)).toBeLessThan(HELP_LIMIT_MS * slowness);
  expect(median(client)).toBeLessThan(CLIENT_LIMIT_MS * slowness);
}, 300_000);
