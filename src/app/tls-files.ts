/**
 * The certificate and the key of a relay as two files that something else renews: read at the start, and again when
 * they change. Whether the two fit together is the server's to say. Looks every half second instead of having the
 * system tell: renewal replaces files, moves symlinks (certbot) or mounts (Kubernetes), and a watch on the old file
 * hears of none.
 */
import { readFile, stat } from 'node:fs/promises';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { TlsPair } from '../relay/relay-server.ts';
import { fileReason } from '../state/state-dir.ts';

/** With the look after it, at which a change must have stood still, a new pair is in use after a second. */
const POLL_MS = 500;

export class TlsFiles {
  private readonly paths: readonly [cert: string, key: string];
  /** Of the pair that was read last, whether it could be used or not. */
  private readPair = '';
  /** At the last look. */
  private seen = '';
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(cert: string, key: string) {
    this.paths = [cert, key];
  }

  /** @throws WstunError bad-certificate */
  async read(): Promise<TlsPair> {
    // First: what changes while it is read is a change.
    this.readPair = await this.stamp();
    this.seen = this.readPair;
    const [cert, key] = this.paths;
    return { cert: await readPem(cert), key: await readPem(key) };
  }

  /**
   * Hands each new pair over, until `stop`. What cannot be read, or makes `use` throw, is logged once for each change.
   */
  follow(use: (pair: TlsPair) => void, logger: Logger): void {
    const look = async (): Promise<void> => {
      if (await this.hasChanged()) await this.renew(use, logger);
      if (!this.stopped) this.timer = setTimeout(look, POLL_MS).unref();
    };
    this.timer = setTimeout(look, POLL_MS).unref();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private async renew(use: (pair: TlsPair) => void, logger: Logger): Promise<void> {
    try {
      const pair = await this.read();
      if (this.stopped) return;
      use(pair);
      logger.info({}, 'TLS certificate reloaded');
    } catch (error) {
      const fault = error instanceof WstunError ? error : new WstunError('bad-certificate', reasonOf(error));
      logger.error({ code: fault.code }, `${fault.message} The previous certificate stays in use.`);
    }
  }

  /**
   * And has stood still since the last look: certificate and key are two files, and are written one after the other.
   */
  private async hasChanged(): Promise<boolean> {
    const stamp = await this.stamp();
    const still = stamp === this.seen;
    this.seen = stamp;
    return still && stamp !== this.readPair;
  }

  /** Changes whenever one of the files does; never rejects. */
  private async stamp(): Promise<string> {
    const stamps = this.paths.map(async (path) => {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
      return [dev, ino, size, mtimeNs, ctimeNs].join(':');
    });
    return (await Promise.allSettled(stamps)).map((it) => (it.status === 'fulfilled' ? it.value : 'gone')).join(' ');
  }
}

async function readPem(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new WstunError('bad-certificate', `${path}: ${fileReason(error)}`);
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : '';
}
