/** The pages of `wstun help TOPIC`. None is longer than 40 lines of 80 characters. */
import { encryption } from './encryption.ts';
import { environment } from './environment.ts';
import { exitCodes } from './exit-codes.ts';
import { files } from './files.ts';
import { invites } from './invites.ts';
import { proxies } from './proxies.ts';
import { troubleshooting } from './troubleshooting.ts';

export interface Topic {
  readonly name: string;
  /** Its first line is a title. Paths are those of this machine and user. */
  readonly text: () => string;
}

export const TOPICS: readonly Topic[] = [
  { name: 'environment', text: environment },
  { name: 'exit-codes', text: exitCodes },
  { name: 'files', text: files },
  { name: 'proxies', text: proxies },
  { name: 'invites', text: invites },
  { name: 'encryption', text: encryption },
  { name: 'troubleshooting', text: troubleshooting },
];
