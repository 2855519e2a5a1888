/** Hands a new invite over: on stdout, or in a file. A person is told what to do with it, because it is shown once. */
import type { Delivery, Issuer, NamedInvite } from '../app/invites.ts';
import { WstunError } from '../errors.ts';
import { writeInviteFiles } from '../state/invite-files.ts';
import { printLine } from './output.ts';
import { drawQr } from './qr.ts';

export interface ShowOptions {
  readonly json?: boolean;
  /** Also as a QR code, on stderr. */
  readonly qr?: boolean;
  /** Into this file, and not on stdout. */
  readonly out?: string;
}

/** @throws WstunError bad-option: checked before anything is changed */
export function requireShowable({ json = false, qr = false, out }: ShowOptions): void {
  if (out === '') throw new WstunError('bad-option', '--out needs the name of a file');
  if (qr && (json || out !== undefined))
    throw new WstunError(
      'bad-option',
      '--qr shows the invite on a terminal, so --json and --out cannot be given with it',
    );
}

/** Before the access list changes: if the file cannot be written, nothing is changed. */
export function deliveryTo({ out }: ShowOptions): Delivery | undefined {
  if (out === undefined) return undefined;
  return async (invites) => await writeInviteFiles(invites.map(({ invite }) => ({ path: out, invite })));
}

/** Only the invite on stdout where no person reads it. */
export function showInvite(named: NamedInvite, { relayUrls }: Issuer, allow: readonly string[], options: ShowOptions) {
  const { name, role, invite } = named;
  const { json = false, qr = false, out } = options;
  if (json) return printLine(JSON.stringify({ name, role, relays: relayUrls, ...(out ? { file: out } : { invite }) }));
  const command = `wstun ${role}`;
  if (process.stderr.isTTY) {
    tell(`invite for ${name}, through ${relayUrls.join(' or ')}`);
    if (role === 'client')
      tell(`It allows public addresses${allow.length === 0 ? ' only' : ` and ${allow.join(', ')}`}.`);
    tell(
      out === undefined
        ? `Send ${name} this line. It is a secret, and cannot be shown again:`
        : `It is in ${out}, which only you can read: a secret. Whoever has it runs: ${command} --invite-file FILE`,
    );
  }
  if (qr) tell(`\n${drawQr(invite, process.env.NO_COLOR === undefined && process.stderr.isTTY === true)}\n`);
  if (out === undefined) printLine(process.stdout.isTTY ? `${command} ${invite}` : invite);
}

function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}
