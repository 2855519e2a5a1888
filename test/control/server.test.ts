/** The control socket of this process: `watch`, and answers that come too late for who has asked. */
import { getEventListeners, once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openControl } from '../../src/control/ask.ts';
import { type Answer, startControlServer } from '../../src/control/server.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';
import { until } from '../support/until.ts';

async function controlled(status: Answer, clock?: VirtualClock): Promise<string> {
  const path = join(await tempDir(), 'c.sock');
  const server = await startControlServer({ path, answers: { status }, ...(clock && { clock }) });
  atEnd(() => server.close());
  return path;
}

async function watcher(path: string): Promise<{ readonly socket: Socket; lines(): string[] }> {
  const socket = connect(path);
  atEnd(() => socket.destroy());
  let text = '';
  socket.on('data', (chunk) => {
    text += String(chunk);
  });
  await once(socket, 'connect');
  socket.write('{"wstun":1,"request":"watch"}\n');
  return { socket, lines: () => text.split('\n').slice(0, -1) };
}

it('watch answers every second, for longer than one answer may take, and leaves no listener behind', async () => {
  const clock = new VirtualClock();
  let signal: AbortSignal | undefined;
  let asked = 0;
  const path = await controlled((_target, given) => {
    signal = given;
    return { number: ++asked };
  }, clock);
  const { lines } = await watcher(path);
  await until(() => lines().length === 1);
  await clock.advance(100_000);
  await until(() => lines().length === 101);
  expect(JSON.parse(lines().at(-1) ?? '')).toEqual({ wstun: 1, reply: 'ok', data: { number: 101 } });
  expect(getEventListeners(signal ?? new AbortController().signal, 'abort').length).toBeLessThanOrEqual(1);
});

it('a status that fails while it is watched is an answer, and ends nothing but that', async () => {
  const path = await controlled(() => Promise.reject(new Error('broken')));
  const { lines } = await watcher(path);
  await until(() => lines().length === 1);
  expect(JSON.parse(lines()[0] ?? '')).toMatchObject({ reply: 'error', code: 'WSTUN-E900' });
});

it('an answer that comes too late is not taken for that of the next request', async () => {
  const answers: ((data: object) => void)[] = [];
  const path = await controlled(() => new Promise((resolve) => answers.push(resolve)));
  const control = await openControl({ path, role: 'client', pid: process.pid });
  if (control === undefined) throw new Error('nobody listens');
  atEnd(() => control.close());
  await expect(control.ask({ request: 'status' }, 1)).rejects.toMatchObject({ fault: 'control-failed' });
  const second = control.ask({ request: 'status' });
  await until(() => answers.length === 1);
  answers[0]?.({ number: 1 });
  await until(() => answers.length === 2);
  answers[1]?.({ number: 2 });
  expect(await second).toEqual({ number: 2 });
});
