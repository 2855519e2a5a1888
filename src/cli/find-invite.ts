/** Where a command finds the invite that it was given. */
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { WstunError } from '../errors.ts';

export interface InviteOptions {
  readonly invite: string | undefined;
  readonly inviteFile?: string;
}

/**
 * The argument, else the file, else $WSTUN_INVITE, which is deleted from the environment; undefined where there is none of them.
 * @throws WstunError invite-missing for a file that cannot be read
 */
export async function findInvite(options: InviteOptions): Promise<string | undefined> {
  const fromEnvironment = process.env.WSTUN_INVITE;
  // What we start must not inherit the secret.
  delete process.env.WSTUN_INVITE;
  if (options.invite !== undefined) return options.invite;
  if (options.inviteFile !== undefined) return readInviteFile(options.inviteFile);
  return fromEnvironment === '' ? undefined : fromEnvironment;
}

async function readInviteFile(file: string): Promise<string> {
  try {
    return file === '-' ? await text(process.stdin) : await readFile(file, 'utf8');
  } catch (error) {
    throw new WstunError('invite-missing', error instanceof Error ? error.message : file);
  }
}
