/** Self-signed certificates for TLS on loopback, made anew in each run: no private key lies in the repository. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** PEM texts. `names` as openssl's subjectAltName has them. */
export function makeCertificate(names = 'IP:127.0.0.1,IP:::1,DNS:localhost'): { cert: string; key: string } {
  const dir = mkdtempSync(join(tmpdir(), 'wstun-cert-'));
  const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const subject = ['-subj', '/CN=wstun test', '-addext', `subjectAltName=${names}`, '-days', '2'];
  try {
    execFileSync('openssl', ['req', '-x509', ...curve, ...subject, '-keyout', key, '-out', cert], { stdio: 'pipe' });
    return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  } finally {
    rmSync(dir, { recursive: true });
  }
}
