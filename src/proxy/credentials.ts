/** The one user and password of a proxy: compared in constant time, and never in a log or an error. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { WstunError } from '../errors.ts';
import type { FailedAttemptLimiter } from './failed-attempts.ts';

export interface Credentials {
  readonly user: string;
  readonly pass: string;
}

/** `NAME:PASS`, each 1 to 255 bytes (RFC 1929 §2); the name ends at the first colon. Throws `bad-credentials`. */
export function parseCredentials(text: string): Credentials {
  const colon = text.indexOf(':');
  const user = text.slice(0, Math.max(colon, 0));
  const pass = text.slice(colon + 1);
  return requireCredentials({ user, pass });
}

/** @throws WstunError bad-credentials */
export function requireCredentials({ user, pass }: Credentials): Credentials {
  // In Basic a colon ends the name (RFC 7617 §2).
  if (!fits(user) || !fits(pass) || user.includes(':')) throw new WstunError('bad-credentials');
  return { user, pass };
}

function fits(text: unknown): boolean {
  const bytes = typeof text === 'string' ? Buffer.byteLength(text) : 0;
  return bytes >= 1 && bytes <= 255;
}

export class CredentialCheck {
  readonly #credentials: Credentials;
  readonly #user: Buffer;
  readonly #pass: Buffer;
  readonly #limit: FailedAttemptLimiter | undefined;
  readonly #address: string;

  /** `limit` is shared by all programs, `address` is that of one. Without a limit guesses are free. */
  constructor(credentials: Credentials, limit?: FailedAttemptLimiter, address = '') {
    this.#credentials = credentials;
    this.#user = digest(Buffer.from(credentials.user));
    this.#pass = digest(Buffer.from(credentials.pass));
    this.#limit = limit;
    this.#address = address;
  }

  /** The same check for a program at that address: only that address is slowed after wrong guesses. */
  from(address: string): CredentialCheck {
    return new CredentialCheck(this.#credentials, this.#limit, address);
  }

  /** Always both digests: the time must not show which was right. @param now ms, monotonic */
  accepts(user: Uint8Array, pass: Uint8Array, now = performance.now()): boolean {
    if (this.#limit?.isLocked(this.#address, now)) return false;
    const [userDigest, passDigest] = [digest(user), digest(pass)];
    const sameUser = timingSafeEqual(userDigest, this.#user);
    const samePass = timingSafeEqual(passDigest, this.#pass);
    const isRight = sameUser && samePass;
    if (isRight) this.#limit?.noteRight(this.#address);
    else this.#limit?.noteWrong(this.#address, digest(Buffer.concat([userDigest, passDigest])).toString('base64'), now);
    return isRight;
  }

  /** The value of Proxy-Authorization: Basic (RFC 7617 §2). */
  acceptsBasic(header: string | undefined): boolean {
    const [, encoded] = /^basic +([a-z0-9+/]+={0,2}) *$/i.exec(header ?? '') ?? [];
    if (encoded === undefined) return false;
    const decoded = Buffer.from(encoded, 'base64');
    const colon = decoded.indexOf(':');
    return colon >= 0 && this.accepts(decoded.subarray(0, colon), decoded.subarray(colon + 1));
  }
}

function digest(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}
