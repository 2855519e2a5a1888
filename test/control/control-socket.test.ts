/** The control socket in one process: a watch that goes on, answers that are late, and sockets that cannot be asked. */
import { getEventListeners, once } from 'node:events';
import { mkdir, symlink } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it } from 'vitest';
import { findRunning } from '../../src/app/control.ts';
import { openControl } from '../../src/control/ask.ts';
import { newControlPath } from '../../src/control/places.ts';
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

it('an answer that comes too late is not taken for that of the next request', async () => {
  const path = join(await tempDir(), 'client-1-00000000.sock');
  let asked = 0;
  const answer = (socket: Socket, number: number) =>
    socket.write(`${JSON.stringify({ wstun: 1, reply: 'ok', data: { number } })}\n`);
  const server = createServer((socket) => {
    createInterface({ input: socket }).on('line', () => {
      asked += 1;
      if (asked === 2) for (const number of [1, 2]) answer(socket, number);
    });
  }).listen(path);
  atEnd(() => server.close());
  await once(server, 'listening');
  const control = await openControl({ path, role: 'client', pid: 1 });
  await expect(control?.ask({ request: 'status' }, 20)).rejects.toMatchObject({ fault: 'control-failed' });
  expect(await control?.ask({ request: 'status' })).toEqual({ number: 2 });
  control?.close();
});

it('a socket that cannot be asked hides no other, and is told where there is none', async () => {
  const state = await tempDir();
  await mkdir(join(state, 'control'), { mode: 0o700 });
  const loop = join(state, 'control', 'client-1-00000000.sock');
  await symlink(loop, loop);
  await expect(findRunning([state])).rejects.toMatchObject({ fault: 'control-failed' });
  const path = await newControlPath(state, 'client');
  const server = await startControlServer({ path, answers: { status: () => ({}) } });
  atEnd(() => server.close());
  const found = await findRunning([state]);
  expect(found.map(({ place }) => place.path)).toEqual([path]);
  for (const control of found) control.close();
});
