/** Who orders a relay's certificate of an authority: the process itself, or another node on the same port. */
import type { Logger } from '../observability/logger.ts';
import type { StateDir } from '../state/state-dir.ts';
import { AcmeCertificate, type AcmeOptions } from './acme.ts';
import { AcmeFollower } from './acme-follower.ts';
import type { OrderedCertificate } from './relay-certificate.ts';
import type { RelayNode } from './relay-node.ts';

/** @throws WstunError bad-domain, bad-option */
export function orderedCertificate(
  options: AcmeOptions,
  state: StateDir,
  logger: Logger,
  node: RelayNode | undefined,
): OrderedCertificate {
  const challenges = node?.challenges;
  return challenges === undefined || challenges.isOurs
    ? new AcmeCertificate(options, state, logger, challenges)
    : new AcmeFollower(options.domains, state, challenges);
}
