/**
 * `networks.json`: what a client or an exit remembers of networks (tunnel/routes/route-memory.ts says what). Losing it
 * costs a race of routes, so nothing that happens to it ends anything.
 */
import { sleep } from '../async/abortable.ts';
import { type Clock, systemClock } from '../clock.ts';
import type { Logger } from '../observability/logger.ts';
import type { StateDir } from './state-dir.ts';

const NAME = 'networks.json';
/** Between two writes: a network that changes all the time must not wear out the disk. */
const PAUSE_MS = 5_000;
/** Far more than 64 networks need. */
const MAX_CHARACTERS = 64 * 1024;

export class NetworkMemoryFile {
  private readonly closing = new AbortController();
  private pending: object | undefined;
  private writing: Promise<void> | undefined;

  /** Only `readNetworkMemory` makes one. @param content what the file held; undefined: nothing that can be read */
  constructor(
    private readonly state: StateDir,
    readonly content: unknown,
    private readonly logger: Logger,
    private readonly clock: Clock,
  ) {}

  /** Writes soon; of several contents that come meanwhile, the last. */
  save(content: object): void {
    this.pending = content;
    this.writing ??= this.write().finally(() => {
      this.writing = undefined;
    });
  }

  /** Resolves when everything is written; from now on without pauses. */
  async close(): Promise<void> {
    this.closing.abort();
    await this.writing;
  }

  private async write(): Promise<void> {
    while (this.pending !== undefined) {
      const text = `${JSON.stringify(this.pending)}\n`;
      this.pending = undefined;
      try {
        await this.state.write(NAME, text);
      } catch (error) {
        this.logger.debug({ error: String(error) }, 'what was learnt of this network could not be kept');
      }
      await sleep(this.clock, PAUSE_MS, this.closing.signal);
    }
  }
}

/** Never rejects. */
export async function readNetworkMemory(
  state: StateDir,
  logger: Logger,
  clock: Clock = systemClock,
): Promise<NetworkMemoryFile> {
  let content: unknown;
  try {
    const text = (await state.read(NAME, { secret: true })) ?? '';
    if (text !== '' && text.length <= MAX_CHARACTERS) content = JSON.parse(text);
  } catch (error) {
    logger.debug({ error: String(error) }, `${state.pathOf(NAME)} cannot be read, and counts as empty`);
  }
  return new NetworkMemoryFile(state, content, logger, clock);
}
