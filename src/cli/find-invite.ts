/** Finds the invite that a command was given. */
import { createReadStream } from 'node:fs';
import { MAX_PASTED_CHARS } from '../crypto/pasted-text.ts';
import { WstunError } from '../errors.ts';
import { fileReason } from '../state/state-dir.ts';

export interface InviteOptions {
  readonly invite: string | undefined;
  readonly inviteFile?: string;
}

/** In UTF-16. A longer file is rejected before it fills the memory. */
const MAX_BYTES = 2 * MAX_PASTED_CHARS;

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
  try {
    return textOf(await readSome(file === '-' ? process.stdin : createReadStream(file)));
  } catch (error) {
    if (error instanceof WstunError) throw error;
    throw new WstunError('invite-missing', `${file}: ${fileReason(error)}`);
  }
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
