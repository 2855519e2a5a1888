/** Finds the invite that a command was given. */
import { constants, createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { toldIfLong } from '../async/long-wait.ts';
import { systemClock } from '../clock.ts';
import { MAX_PASTED_CHARS } from '../crypto/pasted-text.ts';
import { WstunError } from '../errors.ts';
import { fileReason } from '../state/state-dir.ts';

export interface InviteOptions {
  readonly invite: string | undefined;
  readonly inviteFile?: string;
}

/** In UTF-16. A longer file is rejected before it fills the memory. */
const MAX_BYTES = 2 * MAX_PASTED_CHARS;
/** For whoever writes to a pipe, and may have to enter a passphrase first, ms. */
const WRITER_LIMIT_MS = 300_000;

/**
 * The argument, else the file, else $WSTUN_INVITE, which is deleted from the environment; undefined if there is none.
 * @throws WstunError invite-missing for a file that cannot be read, invite-malformed for one that is far too long
 */
export async function findInvite(options: InviteOptions): Promise<string | undefined> {
  const fromEnvironment = process.env.WSTUN_INVITE;
  // Child processes must not inherit the secret.
  delete process.env.WSTUN_INVITE;
  if (options.invite !== undefined) return options.invite;
  if (options.inviteFile !== undefined) return readInviteFile(options.inviteFile);
  return fromEnvironment === '' ? undefined : fromEnvironment;
}

async function readInviteFile(file: string): Promise<string> {
  const name = file === '-' ? 'stdin' : file;
  // What is typed there is shown. Without an option, the client asks for it, and shows nothing.
  if (file === '-' && process.stdin.isTTY === true)
    process.stderr.write('Paste the invite, press Enter, then Ctrl-D.\n');
  let isLate = false;
  const source = file === '-' ? process.stdin : createReadStream(file);
  const limit = setTimeout(() => {
    isLate = true;
    void release(file).finally(() => source.destroy());
  }, WRITER_LIMIT_MS);
  const late = () => new WstunError('invite-missing', `nothing was written to ${name} within five minutes`);
  try {
    const bytes = await toldIfLong(() => `an invite from ${name}`, readSome(source), systemClock);
    if (isLate) throw late();
    return textOf(bytes);
  } catch (error) {
    if (isLate) throw late();
    if (error instanceof WstunError) throw error;
    throw new WstunError('invite-missing', `${file}: ${fileReason(error)}`);
  } finally {
    clearTimeout(limit);
  }
}

/** Whoever waits for a writer of a pipe gets one: nothing else ends that wait, not even the end of the process. */
async function release(file: string): Promise<void> {
  const isPipe = file !== '-' && (await stat(file).catch(() => undefined))?.isFIFO() === true;
  if (!isPipe) return;
  const pipe = await open(file, constants.O_WRONLY | constants.O_NONBLOCK).catch(() => undefined);
  await pipe?.write('\n').catch(() => {});
  await pipe?.close();
}

async function readSome(source: AsyncIterable<Buffer | string>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of source) {
    const buffer = Buffer.from(chunk);
    chunks.push(buffer);
    bytes += buffer.length;
    if (bytes > MAX_BYTES) throw new WstunError('invite-malformed', 'it is too long');
  }
  return Buffer.concat(chunks);
}

/** The editor and the shell of Windows write UTF-16, with a byte order mark. */
function textOf(bytes: Buffer): string {
  const mark = bytes.length >= 2 ? bytes.readUInt16BE(0) : 0;
  if (mark === 0xfffe) return bytes.toString('utf16le');
  if (mark !== 0xfeff) return bytes.toString('utf8');
  const whole = Buffer.from(bytes.subarray(0, bytes.length & ~1));
  return whole.swap16().toString('utf16le');
}
