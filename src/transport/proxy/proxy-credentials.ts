/** A user name and a password for a proxy. No log, error, event or `inspect` shows either. */
import { createHmac, randomBytes } from 'node:crypto';
import { WstunError } from '../../errors.ts';

/** Of a user name or a password, bytes. RFC 1929 §2 has 255; some tokens that serve as passwords are longer. */
const MAX_BYTES = 4096;
const key = randomBytes(32);

export class ProxyCredentials {
  readonly #user: string;
  readonly #password: string;

  /** @throws WstunError bad-proxy for control characters, an empty name, or more than 4096 bytes */
  constructor(user: string, password: string) {
    const both = user + password;
    // Control characters would end a header or a line.
    if (user === '' || /\p{Cc}/u.test(both) || Buffer.byteLength(both) > MAX_BYTES)
      throw new WstunError('bad-proxy', 'its user name or password is not valid');
    this.#user = user;
    this.#password = password;
  }

  exposeUser(): string {
    return this.#user;
  }

  exposePassword(): string {
    return this.#password;
  }

  /** RFC 1929 §2. */
  get fitsSocks(): boolean {
    return [this.#user, this.#password].every((text) => Buffer.byteLength(text) <= 255);
  }

  /** Tells credentials apart within this process, and says nothing about them. */
  get fingerprint(): string {
    return createHmac('sha256', key).update(`${this.#user}\0${this.#password}`).digest('base64');
  }
}

/** `user:password`, the user name without a colon. Undefined if it is not that. */
export function credentialsOf(line: string): ProxyCredentials | undefined {
  const colon = line.indexOf(':');
  if (colon < 1) return undefined;
  try {
    return new ProxyCredentials(line.slice(0, colon), line.slice(colon + 1));
  } catch {
    return undefined;
  }
}
