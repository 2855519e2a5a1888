/** Connections that are handed to another process, which is a real one. @module-tag waits */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { expect, it, vi } from 'vitest';
import { Backlog, followConnections, post } from '../../src/workers/handed-connections.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { atEnd } from '../support/scope.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';
import { until } from '../support/until.ts';

const NOTE = { note: 'reload' } as const;
/** Echoes what comes on each connection that it gets. */
const CHILD = `process.on('message', (_message, socket) => socket?.pipe(socket)); process.send('there');`;

async function startChild(): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['-e', CHILD], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  atEnd(() => void child.kill('SIGKILL'));
  await once(child, 'message');
  return child;
}

/** Both ends of a connection in this process. */
async function openConnection(): Promise<{ readonly near: Socket; readonly far: Socket }> {
  const server = createServer().listen(0, '127.0.0.1');
  atEnd(() => void server.close());
  await once(server, 'listening');
  const { port } = server.address() as { readonly port: number };
  const far = connect(port, '127.0.0.1');
  far.on('error', () => {});
  atEnd(() => void far.destroy());
  const [near] = (await once(server, 'connection')) as [Socket];
  return { near, far };
}

/** Until this process has read whatever had come for it. */
async function readAll(): Promise<void> {
  const port = await tcpServer(echo);
  for (const text of ['once', 'twice']) {
    const socket = connect(port, '127.0.0.1');
    socket.write(text);
    await once(socket, 'data');
    socket.destroy();
  }
}

it('what comes on a connection while another process has not taken it yet is read by that one', async () => {
  const child = await startChild();
  const { near, far } = await openConnection();
  child.kill('SIGSTOP');
  post(child, NOTE, near);
  far.write('early');
  await readAll();
  child.kill('SIGCONT');
  const [answer] = (await once(far, 'data')) as [Buffer];
  expect(String(answer)).toBe('early');
});

it('whoever waits for the end of a connection hears that this process has it no more', async () => {
  const child = await startChild();
  const { near, far } = await openConnection();
  const closed = once(near, 'close');
  post(child, NOTE, near);
  await closed;
  far.write('open');
  await once(far, 'data');
});

it('connections that a process has not taken when it dies are closed', async () => {
  const child = await startChild();
  const end = followConnections(child);
  const taken = await openConnection();
  post(child, NOTE, taken.near);
  taken.far.write('taken');
  await once(taken.far, 'data');
  child.kill('SIGSTOP');
  const waiting = [await openConnection(), await openConnection(), await openConnection()];
  for (const { near } of waiting) post(child, NOTE, near);
  const ends = waiting.map(({ far }) => once(far.resume(), 'close'));
  child.kill('SIGKILL');
  await once(child, 'exit');
  end();
  await Promise.all(ends);
  const late = await openConnection();
  post(child, NOTE, late.near);
  await once(late.far.resume(), 'close');
});

it('a process that reads nothing of what it is sent is noticed after 30 s, one that reads late is not', async () => {
  const clock = new VirtualClock();
  const child = await startChild();
  const { near, far } = await openConnection();
  const onStuck = vi.fn();
  const backlog = new Backlog(onStuck, clock);
  const send = (socket?: Socket): void => post(child, NOTE, socket, backlog.add());
  child.kill('SIGSTOP');
  send(near);
  send();
  await clock.advance(29_000);
  send();
  child.kill('SIGCONT');
  far.write('taken');
  await once(far, 'data');
  await until(() => backlog.size === 0);
  child.kill('SIGSTOP');
  await clock.advance(60_000);
  const another = await openConnection();
  send(another.near);
  send();
  await clock.advance(29_000);
  send();
  expect(onStuck).not.toHaveBeenCalled();
  await clock.advance(2_000);
  send();
  send();
  expect(onStuck).toHaveBeenCalledTimes(1);
});
