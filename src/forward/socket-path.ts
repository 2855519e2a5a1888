/**
 * Listens at a path of the file system (unix(7)): only this user may connect. A socket that a process left behind when
 * it was killed is replaced; one at which somebody listens, and any other file, is not. Node removes it at the end.
 */
import { once } from 'node:events';
import { chmod, lstat, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { isMainThread } from 'node:worker_threads';
import { cannotListenAtPath } from '../listen-fault.ts';

const OPTION = '--local-forward';
const ONLY_OWNER = 0o600;
const ALL_BUT_OWNER = 0o177;
/** Somebody who listens accepts at once, or has a full queue. */
const ALIVE_AFTER_MS = 1_000;

/** sockaddr_un: 107 bytes on Linux, 103 on macOS and BSD. libuv would listen at what fits of a longer path. */
const MAX_PATH_BYTES = 103;

/** @throws WstunError cannot-listen */
export async function listenAtPath(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) throw cannotListenAtPath(path, { code: 'ENAMETOOLONG' }, OPTION);
  try {
    await listen(server, path).catch(async (error: unknown) => {
      if (!isInUse(error) || !(await isDead(path))) throw error;
      await unlink(path);
      await listen(server, path);
    });
  } catch (error) {
    throw cannotListenAtPath(path, error, OPTION);
  }
}

async function listen(server: Server, path: string): Promise<void> {
  const listening = once(server, 'listening');
  // The file is made during the call, so that nobody can connect before its mode is right. A worker has no mask.
  const before = isMainThread ? process.umask(ALL_BUT_OWNER) : undefined;
  try {
    server.listen({ path });
  } finally {
    if (before !== undefined) process.umask(before);
  }
  await listening;
  if (process.platform !== 'win32') await chmod(path, ONLY_OWNER);
}

function isInUse(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
}

/** A socket at which nobody listens. */
async function isDead(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSocket() !== true) return false;
  return await new Promise((resolve) => {
    const socket = connect({ path });
    const settle = (isRefused: boolean): void => {
      clearTimeout(limit);
      socket.destroy();
      resolve(isRefused);
    };
    const limit = setTimeout(() => settle(false), ALIVE_AFTER_MS);
    socket.once('connect', () => settle(false));
    socket.once('error', (error: NodeJS.ErrnoException) => settle(error.code === 'ECONNREFUSED'));
  });
}
