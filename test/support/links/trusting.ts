/** A reach that trusts certificates of a test. */
import type { Reach } from '../../../src/transport/connection/reach.ts';
import { RelayTls } from '../../../src/transport/connection/relay-tls.ts';

/** @param ca PEM */
export function trusting(ca: string): Reach {
  return { tls: new RelayTls({ ca: [ca] }) };
}
