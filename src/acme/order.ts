/** One attempt to get a certificate: account, order, challenges, certificate (RFC 8555 §7). Others give the answers. */
import { Agent } from 'node:https';
import { rootCertificates } from 'node:tls';
import type { Order as AcmeOrder, Authorization, Client } from 'acme-client';
import { sleep, withLimit } from '../async/abortable.ts';
import { type Clock, systemClock } from '../clock.ts';
import { AcmeFault, faultOfAnswer, faultOfChallenge } from './acme-fault.ts';
import { type Exchange, type Library, withLibrary } from './library.ts';

/** An authority validates within seconds; a busy one takes some minutes. */
const ORDER_MS = 5 * 60_000;
/** Between two looks at an order, unless the authority asks for more. */
const FIRST_LOOK_MS = 500;
const LONGEST_LOOK_MS = 15_000;

export type ChallengeKind = 'tls-alpn-01' | 'http-01';

/** PEM texts; the certificate with its chain. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** Where challenges are answered. Each method gives what ends the answer. */
export interface ChallengeAnswers {
  /** That the relay can answer, preferred ones first; at least one. */
  readonly kinds: readonly ChallengeKind[];
  /** To a ClientHello for `name` with `acme-tls/1` (RFC 8737). Resolves when the authority may come. Never rejects. */
  answerTls(name: string, certificate: Certificate): Promise<() => void>;
  /** To GET /.well-known/acme-challenge/TOKEN (RFC 8555 §8.3). */
  answerHttp(token: string, text: string): () => void;
}

/** For authorities that know their customers (RFC 8555 §7.3.4). The key is a secret. */
export interface ExternalAccount {
  readonly id: string;
  /** base64url. */
  readonly key: string;
}

export interface OrderOptions {
  readonly directory: string;
  /** As of `parseDomains`. */
  readonly names: readonly string[];
  readonly email?: string | undefined;
  readonly externalAccount?: ExternalAccount | undefined;
  /** PEM text of further certificate authorities that the directory's TLS may use. */
  readonly ca?: string | undefined;
  /** PEM text. A secret. */
  readonly accountKey: string;
  /** Called with the URL of the terms of service, if the authority has any. */
  readonly onTerms?: ((url: string) => void) | undefined;
}

/** @throws AcmeFault, or the reason of the signal */
export async function orderCertificate(
  options: OrderOptions,
  answers: ChallengeAnswers,
  signal: AbortSignal,
  clock: Clock = systemClock,
): Promise<Certificate> {
  const { ca } = options;
  const agent = ca === undefined ? undefined : new Agent({ ca: [...rootCertificates, ca] });
  const late = () => new AcmeFault('acme-rejected', 'it was not done within five minutes');
  return await withLimit({ clock, signal, limitMs: ORDER_MS }, late, async (limit) => {
    const exchange: Exchange = { clock, signal: limit, agent, retryAfterMs: 0 };
    return await withLibrary(exchange, (library) => new Order(options, answers, exchange, library).run());
  });
}

/** PEM text of a new key: of an account. */
export async function createAccountKey(signal: AbortSignal): Promise<string> {
  const exchange = { clock: systemClock, signal, agent: undefined, retryAfterMs: 0 };
  return await withLibrary(exchange, newKey);
}

async function newKey({ crypto }: Library): Promise<string> {
  return (await crypto.createPrivateEcdsaKey('P-256')).toString();
}

class Order {
  private readonly client: Client;
  private readonly ends: (() => void)[] = [];

  constructor(
    private readonly options: OrderOptions,
    private readonly answers: ChallengeAnswers,
    private readonly exchange: Exchange,
    private readonly library: Library,
  ) {
    const { directory, accountKey, externalAccount } = options;
    this.client = new library.Client({
      directoryUrl: directory,
      accountKey,
      ...(externalAccount && {
        externalAccountBinding: { kid: externalAccount.id, hmacKey: externalAccount.key },
      }),
    });
  }

  async run(): Promise<Certificate> {
    try {
      return await this.order();
    } catch (error) {
      this.exchange.signal.throwIfAborted();
      if (error instanceof AcmeFault) throw error;
      throw new AcmeFault('acme-rejected', error instanceof Error ? error.message : '', 0, { cause: error });
    } finally {
      for (const end of this.ends) end();
    }
  }

  private async order(): Promise<Certificate> {
    const { names, email, onTerms } = this.options;
    const contact = email === undefined ? {} : { contact: [`mailto:${email}`] };
    if (onTerms !== undefined) {
      const terms: string | null = await this.client.getTermsOfServiceUrl();
      if (terms) onTerms(terms);
    }
    await this.client.createAccount({ termsOfServiceAgreed: true, ...contact });
    const order = await this.client.createOrder({ identifiers: names.map((value) => ({ type: 'dns', value })) });
    const authorizations = await this.client.getAuthorizations(order);
    // All to their ends: an answer must stay while the authority asks for it.
    const outcomes = await Promise.allSettled(authorizations.map((each) => this.authorize(each)));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    const look = () => this.client.getOrder(order);
    const ready = await this.settled(look, ({ status }) => status !== 'pending');
    const key = await newKey(this.library);
    const [, csr] = await this.library.crypto.createCsr({ altNames: [...names] }, key);
    if (ready.status === 'ready') await this.client.finalizeOrder(ready, csr);
    const done = await this.settled(look, ({ status }) => status === 'valid' || status === 'invalid');
    if (done.status === 'invalid') throw faultOfAnswer(200, done.error ?? { type: 'the order became invalid' }, 0);
    return { cert: await this.client.getCertificate(done), key };
  }

  /** One that the authority remembers needs no challenge. */
  private async authorize(authorization: Authorization): Promise<void> {
    if (authorization.status === 'valid') return;
    const { value: name } = authorization.identifier;
    const kind = this.answers.kinds.find((each) => authorization.challenges.some(({ type }) => type === each));
    const challenge = authorization.challenges.find(({ type }) => type === kind);
    if (kind === undefined || challenge === undefined)
      throw new AcmeFault('acme-rejected', `${name}: it offers no challenge that this relay answers`);
    const text = await this.client.getChallengeKeyAuthorization(challenge);
    if (kind === 'http-01') this.ends.push(this.answers.answerHttp(challenge.token, text));
    else this.ends.push(await this.answers.answerTls(name, await this.challengeCertificate(authorization, text)));
    await this.client.completeChallenge(challenge);
    const { url } = authorization;
    const look = async () => (await this.client.getAuthorizations(orderOf(url)))[0];
    const done = await this.settled(look, (each) => each?.status !== 'pending');
    if (done?.status === 'valid') return;
    throw faultOfChallenge(name, kind, done?.challenges.find(({ type }) => type === kind)?.error);
  }

  private async challengeCertificate(authorization: Authorization, text: string): Promise<Certificate> {
    const [key, cert] = await this.library.crypto.createAlpnCertificate(
      authorization,
      text,
      await newKey(this.library),
    );
    return { cert: cert.toString(), key: key.toString() };
  }

  private async settled<T>(look: () => Promise<T>, isSettled: (found: T) => boolean): Promise<T> {
    const { clock, signal } = this.exchange;
    for (let pause = FIRST_LOOK_MS; ; pause = Math.min(2 * pause, LONGEST_LOOK_MS)) {
      const found = await look();
      if (isSettled(found)) return found;
      await sleep(clock, Math.max(pause, Math.min(this.exchange.retryAfterMs, LONGEST_LOOK_MS)), signal);
      signal.throwIfAborted();
    }
  }
}

/** By which the library fetches one authorization; it reads nothing else of it. */
function orderOf(authorization: string): AcmeOrder {
  return { status: 'pending', identifiers: [], authorizations: [authorization], finalize: '', url: '' };
}
