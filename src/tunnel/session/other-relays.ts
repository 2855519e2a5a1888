/**
 * To which other relays an exit may be called (docs/protocol.md §11, "Calls to another relay"). Nothing vouches for
 * such a URL but a relay, which could want to make an exit ask servers inside its network. Pure: the time is passed in.
 */
import { parseRelayUrl } from '../../crypto/relay-url.ts';
import { WstunError } from '../../errors.ts';

/** URLs outside the invite that are dialled within so long, ms. A cluster has fewer relays that an invite lacks. */
const URLS = 8;
const WITHIN_MS = 3_600_000;

export class OtherRelays {
  /** When each URL outside the invite was first called to, ms. The oldest first. */
  private readonly called = new Map<string, number>();

  /** @param invited URLs of the invite */
  constructor(private readonly invited: readonly string[]) {}

  /**
   * The URL to dial; undefined: not that one. Over TLS nothing is sent before the certificate is accepted: no server
   * but the one that the URL names reads a request.
   */
  permit(url: string, now: number): string | undefined {
    const relay = parsed(url);
    if (relay === undefined || this.invited.includes(relay)) return relay;
    if (!relay.startsWith('wss:')) return undefined;
    for (const [old, at] of this.called) if (now - at >= WITHIN_MS) this.called.delete(old);
    if (this.called.has(relay)) return relay;
    if (this.called.size >= URLS) return undefined;
    this.called.set(relay, now);
    return relay;
  }
}

function parsed(url: string): string | undefined {
  try {
    return parseRelayUrl(url);
  } catch (error) {
    if (!(error instanceof WstunError)) throw error;
    return undefined;
  }
}
