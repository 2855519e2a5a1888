/** What a client's proxy answers itself: its PAC file, and the page that says whether a program is through. */
import { hostname } from 'node:os';
import { parseDirectRules } from '../proxy/direct-rules.ts';
import type { OwnPages } from '../proxy/own-answers.ts';

/** @throws WstunError bad-direct-rule */
export function ownPagesOf(direct: readonly string[] = [], describe: OwnPages['describe']): OwnPages {
  const name = hostname().toLowerCase();
  // By multicast DNS (RFC 6762), other machines know it under the second name.
  return { describe, direct: parseDirectRules(direct), hostNames: [name, `${name.replace(/\..*$/, '')}.local`] };
}
