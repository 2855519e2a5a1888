/**
 * Tickets that several relays would open: each is claimed in a bucket before it opens a link, so that it opens one in
 * the whole cluster. A ticket that names the relay it is for needs no claim: no other relay opens it.
 */
import { WstunError } from '../errors.ts';
import type { Bucket } from './bus.ts';

/** Longer than a ticket is valid, with the clocks of peer and relay as far apart as they may be (docs/protocol.md). */
export const CLAIM_MAX_AGE_MS = 6 * 60_000;

/**
 * `claimed`: it is this relay's. `replayed`: it has been used. `away`: the cluster cannot be asked, and another relay
 * may have opened it.
 */
export type Claim = 'claimed' | 'replayed' | 'away';

const MARK = Buffer.from('1');

/** Waits for no cluster that is away: whoever sent the ticket waits for an answer. Never rejects. @param fingerprint hex */
export async function claimTicket(bucket: Bucket, fingerprint: string): Promise<Claim> {
  if (!bucket.isOpen) return 'away';
  try {
    return (await bucket.create(fingerprint, MARK)) ? 'claimed' : 'replayed';
  } catch (error) {
    if (!(error instanceof WstunError)) throw error;
    return 'away';
  }
}
