/**
 * Which secrets may pair: the current code, and those of pages that paired before. Pure, with time passed in. Only the
 * page's proof uses a code up: someone who has only seen its identifier can neither use nor spoil it.
 */
import { BoundedMap } from '../../limits/bounded-map.ts';
import { createSecret, secretFromText, secretId, secretToText } from '../shared/pairing.ts';

/** Long enough to unlock a phone and scan, and short enough against a photograph of the screen. */
export const CODE_LIFETIME_MS = 5 * 60_000;
/** Phones of one laptop. One more, and the oldest pairing is forgotten and needs a new code. */
const MAX_PAGES = 16;

/** What a secret belongs to. */
export type Claim =
  /** The code: it is used up, and `rejoin` is remembered for the new page. */
  { readonly kind: 'code'; readonly page: string } | { readonly kind: 'page'; readonly page: string };

interface Code {
  readonly secret: Uint8Array;
  readonly until: number;
}

interface KnownPage {
  readonly id: string;
  readonly secret: Uint8Array;
}

/** Times are milliseconds of any clock that does not run backwards. */
export class PairingSecrets {
  #code: Code | undefined;
  /** By the text of the secret's identifier; the oldest pairing first. */
  readonly #pages = new BoundedMap<string, KnownPage>(MAX_PAGES);
  #count = 0;

  /** Makes a code, in place of the one before. */
  newCode(now: number): Uint8Array {
    this.#code = { secret: createSecret(), until: now + CODE_LIFETIME_MS };
    return this.#code.secret;
  }

  /** Whether this is the text of the valid code. */
  isCode(text: string, now: number): boolean {
    const code = this.#validCode(now);
    const secret = secretFromText(text);
    // By their identifiers, so that the time of the comparison says nothing about the secret.
    return code !== undefined && secret !== undefined && idText(secret) === idText(code.secret);
  }

  /** The secret of this identifier, to check a proof against. */
  find(id: Uint8Array, now: number): Uint8Array | undefined {
    const code = this.#validCode(now);
    if (code !== undefined && idText(code.secret) === secretToText(id)) return code.secret;
    return this.#pages.get(secretToText(id))?.secret;
  }

  /** After the proof. Undefined if the secret was used or has expired since `find`. */
  claim(secret: Uint8Array, rejoin: Uint8Array, now: number): Claim | undefined {
    const known = this.#pages.get(idText(secret));
    if (known !== undefined) return { kind: 'page', page: known.id };
    const code = this.#validCode(now);
    if (code === undefined || idText(code.secret) !== idText(secret)) return undefined;
    this.#code = undefined;
    return { kind: 'code', page: this.#remember(rejoin) };
  }

  #validCode(now: number): Code | undefined {
    if (this.#code !== undefined && now >= this.#code.until) this.#code = undefined;
    return this.#code;
  }

  #remember(rejoin: Uint8Array): string {
    this.#count += 1;
    const id = `page ${this.#count}`;
    this.#pages.set(idText(rejoin), { id, secret: rejoin });
    return id;
  }
}

function idText(secret: Uint8Array): string {
  return secretToText(secretId(secret));
}
