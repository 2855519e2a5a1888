/**
 * The addresses at which this machine is reached from outside, but which none of its interfaces has: behind the NAT of
 * a cloud or a home. They are configured, or else learnt from the relay's own URL and from what a relay sees; the
 * policy refuses them like all other addresses of this exit.
 */
import { settledWithin } from '../async/abortable.ts';
import { systemClock } from '../clock.ts';
import { familyOf, formatIp, type IpBytes, parseIp, unmapIp } from '../net/ip.ts';
import { specialRange } from '../net/special-ranges.ts';
import type { Logger } from '../observability/logger.ts';
import type { Resolver } from './resolver.ts';
import { parseHostText } from './target-host.ts';

/** How often the URL's name is looked up, ms: it may have dynamic DNS. A look-up takes 5 s at most. */
const ASK_AGAIN_MS = 60_000;
/** How long a start waits for the first answer, ms: name servers may be unreachable, and then it continues without. */
const FIRST_ANSWER_MS = 1_000;

export interface PublicAddressesOptions {
  /** Configured: then nothing is learnt. Empty: there are none. */
  readonly given?: readonly IpBytes[] | undefined;
  /** Asked for the name of the URL; the addresses of all of them count. */
  readonly resolvers: readonly Pick<Resolver, 'resolve'>[];
  readonly logger: Logger;
}

export class PublicAddresses {
  /** For each family and relay, the one that was seen last. */
  private readonly seen = new Map<string, IpBytes>();
  private ofHost: readonly IpBytes[] = [];
  private asking: NodeJS.Timeout | undefined;
  private readonly stopping = new AbortController();

  constructor(private readonly options: PublicAddressesOptions) {}

  /** Whether `followHost` and `noteSeen` have an effect. */
  get isLearning(): boolean {
    return this.options.given === undefined;
  }

  /** The current ones. */
  get all(): readonly IpBytes[] {
    return this.options.given ?? [...this.ofHost, ...this.seen.values()];
  }

  /** `host` is a URL's: its addresses count from now on, also when they change. Resolves within about a second. */
  async followHost(host: string): Promise<void> {
    if (!this.isLearning) return;
    const parsed = parseHostText(host);
    if (parsed.kind === 'address') this.ofHost = [parsed.ip];
    if (parsed.kind !== 'name') return;
    const { name } = parsed;
    clearInterval(this.asking);
    this.asking = setInterval(() => void this.ask(name), ASK_AGAIN_MS).unref();
    await settledWithin(systemClock, FIRST_ANSWER_MS, this.ask(name));
  }

  /**
   * A relay sees this machine there. A private address is ignored: it may be that of a machine in between.
   * @param relay its URL, of at most 8: a machine with several ways out has an address for each
   */
  noteSeen(text: string, relay: string): void {
    const ip = parseIp(text);
    if (!this.isLearning || !ip || specialRange(ip) !== undefined) return;
    const address = unmapIp(ip);
    this.seen.set(`${familyOf(address)} ${relay}`, address);
    this.options.logger.debug(
      { address: formatIp(address) },
      'a relay reported the address that it sees for this machine',
    );
  }

  stop(): void {
    clearInterval(this.asking);
    this.stopping.abort();
  }

  /** Without an answer the last one is kept. Never rejects. */
  private async ask(name: string): Promise<void> {
    const { resolvers, logger } = this.options;
    const asked = resolvers.map((resolver) => resolver.resolve([name], this.stopping.signal));
    const answers = await Promise.allSettled(asked);
    const addresses = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value.addresses : []));
    if (addresses.length === 0) return;
    this.ofHost = addresses;
    logger.debug({ addresses: addresses.map(formatIp) }, 'the URL of this relay resolves to these addresses');
  }
}
