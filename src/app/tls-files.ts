/** Two PEM files of a relay, read at the start and when they change. The server checks whether they belong together. */
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { TlsPair } from '../relay/relay-server.ts';
import { FileWatch, signatureOf } from '../state/file-watch.ts';
import { readGivenFile } from '../state/given-file.ts';
import { fileReason } from '../state/state-dir.ts';

/** Certificate and key are written one after the other. A new pair is in use within a second after both. */
const SETTLE_MS = 500;

export class TlsFiles {
  private readonly paths: readonly [cert: string, key: string];
  /** The signature of the pair that was read last, whether it could be used or not. */
  private readPair = '';
  private watch: FileWatch | undefined;

  constructor(cert: string, key: string) {
    this.paths = [cert, key];
  }

  /** @throws WstunError bad-certificate */
  async read(): Promise<TlsPair> {
    // Before the files are read, so that a change in between counts as one.
    this.readPair = await this.stamp();
    const [cert, key] = this.paths;
    return { cert: await readPem(cert), key: await readPem(key) };
  }

  /** Passes each new pair to `use`, until `stop`. A pair that cannot be read or used is logged once for each change. */
  follow(use: (pair: TlsPair) => void, logger: Logger): void {
    this.watch = new FileWatch({
      signature: () => this.stamp(),
      seen: this.readPair,
      settleMs: SETTLE_MS,
      onChange: async () => {
        const pair = await this.read();
        if (this.watch?.isClosed) return;
        use(pair);
        logger.info({}, 'TLS certificate reloaded');
      },
      onFault: (error) => {
        const reason = error instanceof Error ? error.message : '';
        const fault = error instanceof WstunError ? error : new WstunError('bad-certificate', reason);
        logger.error({ code: fault.code }, `${fault.message} The previous certificate stays in use.`);
      },
    });
  }

  stop(): void {
    void this.watch?.close();
  }

  /** Changes whenever one of the files does; never rejects. */
  private async stamp(): Promise<string> {
    return (await Promise.all(this.paths.map((path) => signatureOf(path).catch(() => 'missing')))).join(' ');
  }
}

async function readPem(path: string): Promise<string> {
  try {
    return await readGivenFile(path);
  } catch (error) {
    throw new WstunError('bad-certificate', `${path}: ${fileReason(error)}`);
  }
}
