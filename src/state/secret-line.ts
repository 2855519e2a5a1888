/** A secret of one line in a file of the user's own, which others must not be able to read. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { fileReason, OTHERS } from './state-dir.ts';

/** A longer file is not what was meant, bytes. */
const MAX_BYTES = 16 * 1024;

/** The first line, without its end. Rejects with an Error whose message has no content of the file. */
export async function readSecretLine(path: string): Promise<string> {
  // Not to wait where the path is a pipe that nobody writes to.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    throw new Error(fileReason(error));
  });
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw new Error('it is not a file');
    if (process.platform !== 'win32' && (stats.mode & OTHERS) !== 0)
      throw new Error(`others can read it: chmod 600 ${path}`);
    if (stats.size > MAX_BYTES) throw new Error('it is over 16 KiB');
    const [line = ''] = (await file.readFile('utf8')).replace(/^\uFEFF/, '').split(/\r?\n/);
    return line;
  } finally {
    await file.close();
  }
}
