/**
 * The one user and password that a proxy may ask for. Compared in constant time; neither ever reaches a log or an error.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { WstunError } from '../errors.ts';

export interface Credentials {
  readonly user: string;
  readonly pass: string;
}

/** `NAME:PASS`, each 1 to 255 bytes (RFC 1929 §2); the name ends at the first colon. Throws `bad-credentials`. */
export function parseCredentials(text: string): Credentials {
  const colon = text.indexOf(':');
  const user = text.slice(0, Math.max(colon, 0));
  const pass = text.slice(colon + 1);
  if (!fits(user) || !fits(pass)) throw new WstunError('bad-credentials');
  return { user, pass };
}

function fits(text: string): boolean {
  const bytes = Buffer.byteLength(text);
  return bytes >= 1 && bytes <= 255;
}

export class CredentialCheck {
  readonly #user: Buffer;
  readonly #pass: Buffer;

  constructor(credentials: Credentials) {
    this.#user = digest(Buffer.from(credentials.user));
    this.#pass = digest(Buffer.from(credentials.pass));
  }

  /** Digests are compared, which hides lengths too; both always, lest time tells which was right. */
  accepts(user: Uint8Array, pass: Uint8Array): boolean {
    const sameUser = timingSafeEqual(digest(user), this.#user);
    const samePass = timingSafeEqual(digest(pass), this.#pass);
    return sameUser && samePass;
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
