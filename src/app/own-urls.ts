/**
 * Which tickets are for this relay (docs/protocol.md §2.2, "Audience"): those that are sealed for one of its own URLs.
 * They are the first `--url`, since further ones are other relays with the same keys; `--own-url`; the names of its
 * certificate, if it gets that itself; and what was its first URL before. A relay whose owner has said none of the
 * first two is reached by a guess, and looks at no audience.
 */
import { type Audiences, audienceOf } from '../crypto/ticket.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import { FileWatch } from '../state/file-watch.ts';
import { OWN_URLS_FILE, readOwnUrls, rememberOwnUrl } from '../state/own-urls.ts';
import type { StateDir } from '../state/state-dir.ts';
import { type PublicUrl, rememberedUrls } from './public-url.ts';

export interface OwnNames {
  /** The names in the relay's certificate, if it gets that itself. */
  readonly certified: readonly string[] | undefined;
  /** The prefix that the gate requires. */
  readonly path: string | undefined;
}

export class OwnUrls implements Audiences {
  /** Resolves when it is known which they are. */
  readonly settled: Promise<void>;
  private handleSettled: () => void = () => {};
  private fixed: readonly string[] = [];
  private remembered: readonly string[] = [];
  private own: ReadonlySet<bigint> = new Set();
  /** Audiences of other relays, to their URLs. */
  private others: ReadonlyMap<bigint, string> = new Map();
  private looksAt: boolean;
  private watch: FileWatch | undefined;

  /** @param given `--own-url` */
  constructor(
    private readonly state: StateDir,
    private readonly given: readonly string[],
    private readonly logger: Logger,
  ) {
    this.looksAt = given.length > 0;
    this.settled = new Promise((resolve) => {
      this.handleSettled = resolve;
    });
  }

  /** Puts the URLs of the relay in force, and follows the file. @throws WstunError state-unusable */
  async settle({ url, urls, source }: PublicUrl, { certified = [], path = '' }: OwnNames): Promise<void> {
    const { state } = this;
    this.looksAt ||= source !== 'guessed';
    this.fixed = [url, ...this.given, ...certified.map((name) => `wss://${name}${path}`)];
    const own = new Set(this.fixed.map(audienceOf));
    const others = urls.slice(1).map((other) => [audienceOf(other), other] as const);
    this.others = new Map(others.filter(([audience]) => !own.has(audience)));
    const seen = await state.signature(OWN_URLS_FILE);
    const lost = (await readOwnUrls(state)).filter((before) => this.others.has(audienceOf(before)));
    this.remembered = await rememberOwnUrl(state, url, lost);
    this.refresh();
    for (const each of lost) this.logger.warn({ url: each }, lostText(each));
    this.watch = new FileWatch({
      signature: () => state.signature(OWN_URLS_FILE),
      seen,
      settleMs: 0,
      notices: { directory: state.path, name: OWN_URLS_FILE },
      onChange: async () => {
        this.remembered = await readOwnUrls(state);
        this.refresh();
      },
      onFault: (error) => this.handleFault(error),
    });
    this.handleSettled();
  }

  has(audience: bigint): boolean {
    return !this.looksAt || this.own.has(audience);
  }

  urlOf(audience: bigint): string | undefined {
    return this.others.get(audience);
  }

  async close(): Promise<void> {
    await this.watch?.close();
  }

  /** What was read last stays in force. */
  private handleFault(error: unknown): void {
    if (!(error instanceof WstunError)) throw error;
    this.logger.error({ code: error.code }, error.message);
  }

  private refresh(): void {
    const remembered = this.remembered.map(audienceOf).filter((audience) => !this.others.has(audience));
    this.own = new Set([...this.fixed.map(audienceOf), ...remembered]);
  }
}

/** It was an own URL before, or is that of another relay on this directory. */
function lostText(url: string): string {
  const clash = `${url} is in ${OWN_URLS_FILE}, but --url says that it is another relay's`;
  return `${clash}: if clients reach this relay by it, too, give --own-url ${url}`;
}

/**
 * For an invite with other URLs than the relay's: if none of them is its own, the first one is from now on. Whoever
 * makes such an invite has a name for this relay that it does not know.
 */
export async function adoptUrls(state: StateDir, given: readonly string[]): Promise<void> {
  const [first] = given;
  if (first === undefined) return;
  const [current, ...others] = await rememberedUrls(state);
  const own = new Set([...(current === undefined ? [] : [current]), ...(await readOwnUrls(state))].map(audienceOf));
  const isKnown = given.some((url) => own.has(audienceOf(url)));
  if (isKnown || others.some((url) => audienceOf(url) === audienceOf(first))) return;
  await rememberOwnUrl(state, first);
}
