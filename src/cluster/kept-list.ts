/**
 * `cluster-access.toml` in a relay's state directory: the access list of its cluster, as it was known last. The relay
 * starts with it while the cluster is away. Nobody else reads it, and editing it has no effect.
 */
import { sleep } from '../async/abortable.ts';
import { type Clock, systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { StateDir } from '../state/state-dir.ts';

const NAME = 'cluster-access.toml';
/** Between two writes. */
const PAUSE_MS = 1_000;
/** After one that failed, as on a full disk. */
const RETRY_MS = 10_000;

export class KeptList {
  private text: string | undefined;
  private writing: Promise<void> | undefined;
  private readonly closing = new AbortController();
  /** The last fault: a disk that is full stays so for long, but is logged once. */
  private loggedFault = '';

  constructor(
    private readonly state: Pick<StateDir, 'read' | 'write'>,
    private readonly logger: Logger,
    private readonly clock: Clock = systemClock,
  ) {}

  /** Undefined where nothing was kept. @throws WstunError state-unusable */
  async read(): Promise<string | undefined> {
    return await this.state.read(NAME, { secret: false });
  }

  /** Soon; of several that come meanwhile, the last. */
  keep(text: string): void {
    this.text = `# Copied from the cluster. Edit the list there: wstun access … --cluster URL\n\n${text}`;
    this.writing ??= this.write().finally(() => {
      this.writing = undefined;
    });
  }

  /** Resolves when everything is written. */
  async close(): Promise<void> {
    this.closing.abort();
    await this.writing;
  }

  /** A relay that cannot write continues, and tries again: after a restart it would let in who was removed. */
  private async write(): Promise<void> {
    const { signal } = this.closing;
    while (this.text !== undefined) {
      const { text } = this;
      this.text = undefined;
      const isWritten = await this.attempt(text);
      if (!isWritten && !signal.aborted) this.text ??= text;
      await sleep(this.clock, isWritten ? PAUSE_MS : RETRY_MS, signal);
    }
  }

  private async attempt(text: string): Promise<boolean> {
    try {
      await this.state.write(NAME, text);
      this.loggedFault = '';
      return true;
    } catch (error) {
      if (!(error instanceof WstunError)) throw error;
      if (error.message !== this.loggedFault) this.logger.warn({ code: error.code }, error.message);
      this.loggedFault = error.message;
      return false;
    }
  }
}
