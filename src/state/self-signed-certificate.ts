/**
 * The TLS certificate that a relay makes for itself, in its state directory: `tls-key.pem` and `tls-certificate.pem`.
 * The certificate is renewed while the relay runs; the key stays, so that pins of it stay right. Without the option,
 * nothing of this is loaded.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  webcrypto,
  X509Certificate,
} from 'node:crypto';
import { isIP } from 'node:net';
import { type Clock, systemClock, type Timer } from '../clock.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { StateDir } from './state-dir.ts';

const KEY_NAME = 'tls-key.pem';
const CERTIFICATE_NAME = 'tls-certificate.pem';

const DAY_MS = 86_400_000;
/** A certificate is valid for a year, from a day before it was made: clocks differ. */
const VALID_MS = 365 * DAY_MS;
const EARLIER_MS = DAY_MS;
/** It is renewed when it is valid for less than this. */
const RENEW_MS = 60 * DAY_MS;
/** How often that is looked at. Timers stand still while a machine sleeps. */
const LOOK_MS = 3_600_000;
/** Names of one certificate. */
const MAX_NAMES = 32;

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** PEM. */
export interface CertificatePair {
  readonly cert: string;
  readonly key: string;
}

export class SelfSignedCertificate {
  private readonly names: readonly string[];
  private timer: Timer | undefined;
  private isStopped = false;

  /** @param names hosts and addresses by which clients reach the relay, without brackets */
  constructor(
    private readonly state: StateDir,
    names: readonly string[],
    private readonly clock: Clock = systemClock,
  ) {
    this.names = names.slice(0, MAX_NAMES);
  }

  /** Makes what is missing or out of date. @throws WstunError bad-certificate, state-unusable */
  async read(): Promise<CertificatePair> {
    return await this.state.locked(async () => {
      const key = (await this.state.read(KEY_NAME, { secret: true })) ?? (await this.createKey());
      const privateKey = parseKey(key, this.state.pathOf(KEY_NAME));
      const before = await this.state.read(CERTIFICATE_NAME, { secret: false });
      if (before !== undefined && this.isGood(before, privateKey)) return { cert: before, key };
      const cert = await this.createCertificate(privateKey);
      await this.state.write(CERTIFICATE_NAME, cert);
      return { cert, key };
    });
  }

  /** Passes each renewed pair to `use`, until `stop`. Keeps no process alive. */
  follow(use: (pair: CertificatePair) => void, logger: Logger): void {
    if (this.isStopped) return;
    this.timer = this.clock.setTimeout(() => void this.look(use, logger), LOOK_MS).unref();
  }

  stop(): void {
    this.isStopped = true;
    this.clock.clearTimeout(this.timer);
  }

  private async look(use: (pair: CertificatePair) => void, logger: Logger): Promise<void> {
    try {
      const before = await this.state.read(CERTIFICATE_NAME, { secret: false });
      const pair = await this.read();
      if (pair.cert !== before && !this.isStopped) {
        use(pair);
        logger.info({}, 'TLS certificate renewed; its key is the same');
      }
    } catch (error) {
      const fault = error instanceof WstunError ? error : new WstunError('bad-certificate', String(error));
      logger.error({ code: fault.code }, `${fault.message} The previous certificate stays in use.`);
    }
    this.follow(use, logger);
  }

  private isGood(text: string, key: KeyObject): boolean {
    try {
      const certificate = new X509Certificate(text);
      const now = this.clock.wallTime();
      const isNow = Date.parse(certificate.validFrom) <= now && Date.parse(certificate.validTo) > now + RENEW_MS;
      const hasNames = this.names.every(
        (name) => (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined,
      );
      return isNow && hasNames && certificate.checkPrivateKey(key);
    } catch {
      // Not a certificate: another is made.
      return false;
    }
  }

  private async createKey(): Promise<string> {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    await this.state.write(KEY_NAME, key);
    return key;
  }

  private async createCertificate(privateKey: KeyObject): Promise<string> {
    const x509 = await import('@peculiar/x509');
    const { names } = this;
    const now = this.clock.wallTime();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned(
      {
        serialNumber: `01${randomBytes(15).toString('hex')}`,
        // Nothing says that it is a relay's. A common name has 64 characters at most (RFC 5280 appendix A.1).
        name: [{ CN: [(names[0] ?? 'localhost').slice(0, 64)] }],
        notBefore: new Date(now - EARLIER_MS),
        notAfter: new Date(now + VALID_MS),
        signingAlgorithm: ALGORITHM,
        keys: await webKeys(privateKey),
        extensions: [
          new x509.SubjectAlternativeNameExtension(
            names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
          ),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        ],
      },
      webcrypto,
    );
    return `${certificate.toString('pem')}\n`;
  }
}

async function webKeys(key: KeyObject) {
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  return {
    privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, ALGORITHM, false, ['sign']),
    publicKey: await webcrypto.subtle.importKey('spki', spki, ALGORITHM, true, ['verify']),
  };
}

/** @throws WstunError bad-certificate */
function parseKey(pem: string, path: string): KeyObject {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return key;
  } catch {
    // The error of OpenSSL says no more.
  }
  throw new WstunError('bad-certificate', `${path} is not a key that wstun has made`, {
    fix: 'Restore it from a backup, or delete it: the invites that have its pin then need renewal.',
  });
}
