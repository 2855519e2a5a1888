/** A certificate authority for tests, made by openssl: certificates that it issues, with any names and dates. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Pair {
  /** PEM. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
}

export interface Authority extends Pair {
  /** @param names as openssl's subjectAltName has them; days from now until it expires, below 0: it has expired */
  issue(names: string, days?: number): Pair;
}

const CURVE = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** @param subject such as `/O=Example/CN=Example CA` */
export function makeAuthority(subject: string): Authority {
  const root = inDirectory((dir) => {
    const made = ['-subj', subject, '-days', '2', '-keyout', 'key.pem', '-out', 'cert.pem'];
    openssl(dir, ['req', '-x509', ...CURVE, ...made]);
    return pairIn(dir);
  });
  return { ...root, issue: (names, days = 2) => issue(root, names, days) };
}

function issue(root: Pair, names: string, days: number): Pair {
  return inDirectory((dir) => {
    writeFileSync(join(dir, 'ca.pem'), root.cert);
    writeFileSync(join(dir, 'ca.key'), root.key);
    writeFileSync(join(dir, 'names'), `subjectAltName=${names}\n`);
    openssl(dir, ['req', ...CURVE, '-subj', '/CN=wstun test', '-keyout', 'key.pem', '-out', 'request.pem']);
    const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', 'names'];
    openssl(dir, ['x509', '-req', '-in', 'request.pem', ...by, '-days', String(days), '-out', 'cert.pem']);
    return pairIn(dir);
  });
}

function inDirectory<T>(work: (dir: string) => T): T {
  const dir = mkdtempSync(join(tmpdir(), 'wstun-authority-'));
  try {
    return work(dir);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function openssl(cwd: string, args: readonly string[]): void {
  execFileSync('openssl', args, { cwd, stdio: 'pipe' });
}

function pairIn(dir: string): Pair {
  return { cert: readFileSync(join(dir, 'cert.pem'), 'utf8'), key: readFileSync(join(dir, 'key.pem'), 'utf8') };
}
