/** What a relay has from a certificate authority: the key of its account there, and its certificate with its key. */
import { WstunError } from '../errors.ts';
import type { StateDir } from './state-dir.ts';

const ACCOUNT = 'acme-account.key';
/** Certificate and key in one file, so that they always belong together. */
export const ACME_CERTIFICATE_FILE = 'acme-certificate.json';

export interface AcmeCertificate {
  /** URL of the authority that issued it. */
  readonly directory: string;
  readonly names: readonly string[];
  /** PEM texts. */
  readonly cert: string;
  readonly key: string;
}

/** PEM text, a secret; undefined if there is none. @throws WstunError state-unusable */
export async function readAccountKey(state: StateDir): Promise<string | undefined> {
  return await state.read(ACCOUNT, { secret: true });
}

/** @throws WstunError state-unusable */
export async function saveAccountKey(state: StateDir, key: string): Promise<void> {
  await state.write(ACCOUNT, key);
}

/** Undefined if there is none. @throws WstunError state-unusable */
export async function readAcmeCertificate(state: StateDir): Promise<AcmeCertificate | undefined> {
  const text = await state.read(ACME_CERTIFICATE_FILE, { secret: true });
  if (text === undefined) return undefined;
  const found = parseCertificate(text);
  if (found !== undefined) return found;
  const path = state.pathOf(ACME_CERTIFICATE_FILE);
  throw new WstunError('state-unusable', `${path} is damaged; delete it, and the relay gets a new certificate`);
}

/** @throws WstunError state-unusable */
export async function saveAcmeCertificate(state: StateDir, certificate: AcmeCertificate): Promise<void> {
  await state.write(ACME_CERTIFICATE_FILE, `${JSON.stringify(certificate, undefined, 1)}\n`);
}

function parseCertificate(text: string): AcmeCertificate | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { directory, names, cert, key } = value as Record<string, unknown>;
  const areNames = (list: unknown): list is string[] => Array.isArray(list) && list.every((n) => typeof n === 'string');
  if (typeof directory !== 'string' || typeof cert !== 'string' || typeof key !== 'string') return undefined;
  return areNames(names) ? { directory, names, cert, key } : undefined;
}
