/** The certificate of an authority that is stored in the state directory, if it is good to use. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { type AcmeCertificate, readAcmeCertificate } from '../state/acme-file.ts';
import type { StateDir } from '../state/state-dir.ts';

/** @param names of the relay; one of them at least is in the certificate. @throws WstunError state-unusable */
export async function readUsable(state: StateDir, names: readonly string[]): Promise<AcmeCertificate | undefined> {
  const stored = await readAcmeCertificate(state);
  return stored !== undefined && isUsable(stored.cert, stored.key, names) ? stored : undefined;
}

/** The file may be from a time with other names, or was edited. */
function isUsable(cert: string, key: string, names: readonly string[]): boolean {
  try {
    const certificate = new X509Certificate(cert);
    const isOfOurs = names.some((name) => certificate.checkHost(name) !== undefined);
    return isOfOurs && certificate.checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}
