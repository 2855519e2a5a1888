/** What was in the way of a dial, in a form from which a caller can decide what else to try. Pure. */
import { type FaultName, WstunError } from '../errors.ts';

/**
 * - `local`: this machine could not open a connection. `name`: the host's name has no address here.
 * - `unreachable`: TCP was not connected. `proxy`: the proxy is not there, or does not let us through.
 * - `cut`: TCP was connected, and closed without an answer. `silent`: the same, and nothing came in time.
 * - `not-tls`, `untrusted`: what came is not TLS, or has a certificate that is not trusted.
 * - `answer`: HTTP that opens no link, or something else. `gateway`: what is in front does not reach the relay.
 * - `handshake`: a link was open and did not bring a whole handshake.
 * - `upgrade-dropped`: proved by the relay. `http-link-unknown`: the same, of a relay that knows no HTTP link.
 * - `relay`: its own answer, or the exit's, whatever the way there.
 */
export type Obstacle =
  | 'local'
  | 'name'
  | 'unreachable'
  | 'proxy'
  | 'cut'
  | 'silent'
  | 'not-tls'
  | 'untrusted'
  | 'answer'
  | 'gateway'
  | 'handshake'
  | 'upgrade-dropped'
  | 'http-link-unknown'
  | 'relay';

/** An error that says it. */
export class DialError extends WstunError {
  constructor(
    fault: FaultName,
    detail: string,
    readonly obstacle: Obstacle,
    options: { readonly fix?: string } = {},
  ) {
    super(fault, detail, options);
  }
}

export function obstacleIn(error: WstunError): Obstacle | undefined {
  return error instanceof DialError ? error.obstacle : undefined;
}
