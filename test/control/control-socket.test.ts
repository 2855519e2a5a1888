/** The control socket within one process: a watch that goes on. */
import { getEventListeners } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it } from 'vitest';
import { type Answer, startControlServer } from '../../src/control/server.ts';
import { WstunError } from '../../src/errors.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

/** The lines that a watch gets, one after the other; the clock goes on by a second before each but the first. */
async function watched(status: Answer, count: number): Promise<unknown[]> {
  const clock = new VirtualClock();
  const path = join(await tempDir(), 'c.sock');
  const server = await startControlServer({ path, answers: { status }, clock });
  atEnd(() => server.close());
  const socket = connect(path);
  atEnd(() => socket.destroy());
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  socket.write('{"wstun":1,"request":"watch"}\n');
  const found: unknown[] = [];
  while (found.length < count) {
    found.push(JSON.parse((await lines.next()).value ?? 'null'));
    await clock.advance(1_000);
  }
  return found;
}

it('a watch that goes on keeps no listener for each second', async () => {
  const counts: number[] = [];
  const status: Answer = (_target, signal) => {
    counts.push(getEventListeners(signal, 'abort').length);
    return { role: 'client' };
  };
  expect(await watched(status, 5)).toHaveLength(5);
  expect(new Set(counts)).toEqual(new Set([0]));
});

it('a watch whose answer fails says so, and the process goes on', async () => {
  let times = 0;
  const status: Answer = () => {
    times += 1;
    if (times > 1) throw new WstunError('internal', 'of this test');
    return { role: 'client' };
  };
  expect(await watched(status, 2)).toMatchObject([{ reply: 'ok' }, { reply: 'error', code: 'WSTUN-E900' }]);
});
