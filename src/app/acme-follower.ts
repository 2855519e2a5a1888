/**
 * The certificate of an authority at a node that does not order it: it uses what another node on the same port has
 * stored, and answers that one's challenges.
 */
import { parseDomains } from '../acme/domain.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { TlsPair } from '../relay/relay-server.ts';
import type { SharedChallenges } from '../relay/shared-challenges.ts';
import { TlsChallenges } from '../relay/tls-challenges.ts';
import { ACME_CERTIFICATE_FILE } from '../state/acme-file.ts';
import { FileWatch } from '../state/file-watch.ts';
import type { StateDir } from '../state/state-dir.ts';
import type { OrderedCertificate } from './relay-certificate.ts';
import { readUsable } from './stored-certificate.ts';

export class AcmeFollower implements OrderedCertificate {
  readonly challenges = new TlsChallenges();
  readonly hosts: readonly string[];
  /** By name: what ends each challenge. */
  private readonly ends = new Map<string, () => void>();
  /** The signature of the file when it was read last. */
  private seen = '';
  private used = '';
  private watch: FileWatch | undefined;

  /** @throws WstunError bad-domain */
  constructor(
    domains: readonly string[],
    private readonly state: StateDir,
    shared: SharedChallenges,
  ) {
    this.hosts = parseDomains(domains);
    shared.setHandler((name, pair) => {
      this.ends.get(name)?.();
      if (pair === undefined) this.ends.delete(name);
      else this.ends.set(name, this.challenges.add(name, pair));
    });
  }

  /** HTTP-01 is answered by the node that orders. */
  async listen(): Promise<void> {}

  async read(): Promise<TlsPair | undefined> {
    // Before the file is read, so that a change in between counts as one.
    this.seen = await this.state.signature(ACME_CERTIFICATE_FILE);
    const stored = await readUsable(this.state, this.hosts);
    this.used = stored?.cert ?? '';
    return stored;
  }

  follow(use: (pair: TlsPair) => void, logger: Logger): void {
    const { state } = this;
    this.watch = new FileWatch({
      signature: () => state.signature(ACME_CERTIFICATE_FILE),
      seen: this.seen,
      // It is replaced as a whole.
      settleMs: 0,
      notices: { directory: state.path, name: ACME_CERTIFICATE_FILE },
      onChange: async () => {
        const stored = await readUsable(state, this.hosts);
        if (stored === undefined || stored.cert === this.used || this.watch?.isClosed === true) return;
        use(stored);
        this.used = stored.cert;
        logger.info({}, 'a new TLS certificate is in use');
      },
      onFault: (error) => {
        const fault = error instanceof WstunError ? error : new WstunError('bad-certificate', String(error));
        logger.error({ code: fault.code }, `${fault.message} The previous certificate stays in use.`);
      },
    });
  }

  async stop(): Promise<void> {
    await this.watch?.close();
  }
}
