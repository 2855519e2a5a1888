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

export class KeptList {
  private text: string | undefined;
  private writing: Promise<void> | undefined;
  private readonly closing = new AbortController();

  constructor(
    private readonly state: StateDir,
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

  /** A relay that cannot write continues: it would only know less after a restart. */
  private async write(): Promise<void> {
    while (this.text !== undefined) {
      const { text } = this;
      this.text = undefined;
      try {
        await this.state.write(NAME, text);
      } catch (error) {
        if (!(error instanceof WstunError)) throw error;
        this.logger.warn({ code: error.code }, error.message);
      }
      await sleep(this.clock, PAUSE_MS, this.closing.signal);
    }
  }
}
