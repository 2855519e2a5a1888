/** A relay's certificate from an authority: its options, what is stored, and where challenges are answered. */
import type { Server } from 'node:http';
import { CertificateKeeper, type Stored } from '../acme/certificate-keeper.ts';
import { parseDomains } from '../acme/domain.ts';
import {
  type Certificate,
  type ChallengeAnswers,
  type ChallengeKind,
  createAccountKey,
  type ExternalAccount,
  orderCertificate,
} from '../acme/order.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import type { Logger } from '../observability/logger.ts';
import { HttpChallenges } from '../relay/challenge-server.ts';
import { listen } from '../relay/listen.ts';
import type { SharedChallenges } from '../relay/shared-challenges.ts';
import { TlsChallenges } from '../relay/tls-challenges.ts';
import { readAccountKey, saveAccountKey, saveAcmeCertificate } from '../state/acme-file.ts';
import { readGivenFile } from '../state/given-file.ts';
import { fileReason, type StateDir } from '../state/state-dir.ts';
import type { OrderedCertificate } from './relay-certificate.ts';
import { readUsable } from './stored-certificate.ts';

const LETS_ENCRYPT = 'https://acme-v02.api.letsencrypt.org/directory';

/** Using it means to agree to the terms of service of the authority. */
export interface AcmeOptions {
  /** The names of one certificate, 1 to 100: public DNS names that lead to this relay; no IP addresses or wildcards. */
  readonly domains: readonly string[];
  /** For messages of the authority. Default: none. */
  readonly email?: string;
  /** URL of the authority's directory (RFC 8555 §7.1.1). Default: that of Let's Encrypt. */
  readonly directory?: string;
  /** Path of a PEM file: certificate authorities that the directory's own TLS may use, beside the public ones. */
  readonly caFile?: string;
  /** Where HTTP-01 is answered; the authority asks at port 80. Default: nowhere, and TLS-ALPN-01 alone is used. */
  readonly http?: HostPort;
  /** For authorities that require an account of theirs: its id, and its key, a secret in base64url. */
  readonly externalAccount?: ExternalAccount;
}

export class AcmeCertificate implements OrderedCertificate {
  readonly challenges = new TlsChallenges();
  private readonly httpChallenges = new HttpChallenges();
  private readonly names: readonly string[];
  private readonly directory: string;
  private readonly keeper: CertificateKeeper;
  private server: Server | undefined;

  /** @throws WstunError bad-domain, bad-option */
  constructor(
    private readonly options: AcmeOptions,
    private readonly state: StateDir,
    private readonly logger: Logger,
    /** Of other nodes on the same port. */
    private readonly others?: SharedChallenges,
  ) {
    this.names = parseDomains(options.domains);
    this.directory = parseDirectory(options.directory ?? LETS_ENCRYPT);
    requireEmail(options.email);
    this.keeper = new CertificateKeeper({
      load: () => this.load(),
      order: (attempt, signal) => this.order(attempt, signal),
      logger,
    });
  }

  get hosts(): readonly string[] {
    return this.names;
  }

  async listen(): Promise<void> {
    const { http } = this.options;
    if (http === undefined) return;
    const server = this.httpChallenges.createServer(this.names);
    const address = await listen(server, http, [http], '--acme-http');
    server.on('error', ({ message }) => this.logger.error({ reason: message }, 'cannot accept connections'));
    this.server = server;
    this.logger.info({ address: formatHostPort(address) }, 'answering the certificate authority over HTTP');
  }

  async read(): Promise<Certificate | undefined> {
    return await this.keeper.read();
  }

  follow(use: (pair: Certificate) => void): void {
    this.keeper.follow(use);
  }

  async stop(): Promise<void> {
    this.server?.close();
    this.server?.closeAllConnections();
    await this.keeper.stop();
  }

  private async load(): Promise<Stored | undefined> {
    const stored = await readUsable(this.state, this.names);
    if (stored === undefined) return undefined;
    const { directory, names, cert, key } = stored;
    const isAsWanted = directory === this.directory && names.join() === this.names.join();
    return { cert, key, isAsWanted };
  }

  private async order(attempt: number, signal: AbortSignal): Promise<Certificate> {
    const { directory, names } = this;
    const { email, externalAccount, caFile } = this.options;
    const ca = caFile === undefined ? undefined : await readCa(caFile);
    const known = await readAccountKey(this.state);
    const accountKey = known ?? (await createAccountKey(signal));
    if (known === undefined) await saveAccountKey(this.state, accountKey);
    const onTerms = known === undefined ? (url: string) => this.sayTerms(url) : undefined;
    const options = { directory, names, email, externalAccount, ca, accountKey, onTerms };
    const certificate = await orderCertificate(options, this.answers(attempt), signal);
    await saveAcmeCertificate(this.state, { directory, names, ...certificate });
    return certificate;
  }

  private sayTerms(terms: string): void {
    this.logger.info({ terms }, 'a new account at the certificate authority: --acme agrees to its terms of service');
  }

  /** Where both can be answered, each attempt uses the other kind: one of the ports may be closed. */
  private answers(attempt: number): ChallengeAnswers {
    const both: ChallengeKind[] = attempt % 2 === 0 ? ['http-01', 'tls-alpn-01'] : ['tls-alpn-01', 'http-01'];
    return {
      kinds: this.server === undefined ? ['tls-alpn-01'] : both,
      answerTls: (name, certificate) => this.answerTls(name, certificate),
      answerHttp: (token, text) => this.httpChallenges.add(token, text),
    };
  }

  private async answerTls(name: string, pair: Certificate): Promise<() => void> {
    const end = this.challenges.add(name, pair);
    const endElsewhere = await this.others?.open(name, pair);
    return () => {
      end();
      endElsewhere?.();
    };
  }
}

/** @throws WstunError bad-option */
function parseDirectory(text: string): string {
  const isHttps = URL.canParse(text) && new URL(text).protocol === 'https:';
  if (!isHttps) throw new WstunError('bad-option', '--acme-directory needs a URL that begins with https://');
  return text;
}

function requireEmail(email: string | undefined): void {
  if (email !== undefined && !/^[^\s@,?:]+@[^\s@,?:]+$/.test(email))
    throw new WstunError('bad-option', '--acme-email needs one address, such as me@example.org');
}

async function readCa(path: string): Promise<string> {
  try {
    return await readGivenFile(path);
  } catch (error) {
    throw new WstunError('bad-option', `--acme-ca ${path}: ${fileReason(error)}`);
  }
}
