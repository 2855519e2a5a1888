/**
 * The one place where a carrier is chosen: by what a link to a relay can be carried, and who dials it. A carrier is a
 * row of the table and a file of `transport`, which nobody else dials by. It knows nothing of keys and of proxies.
 */
import { HTTP_FEATURE } from '../../crypto/ticket.ts';
import type { Holding } from '../../transport/http/http-client-link.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import { type DialWebSocketOptions, dialWebSocket } from '../../transport/websocket/websocket-dial.ts';
import type { CarrierName } from '../routes/route.ts';

/** What every carrier takes; each ignores what it has no use for. */
export interface CarrierOptions extends DialWebSocketOptions {
  /** Seals what a further request of an HTTP link says into its path, by the key of the ticket in the URL. */
  readonly sealRequest?: (payload: Uint8Array) => string;
  /** Of an HTTP link: whether answers are held back on the way. */
  readonly holding?: Holding;
}

/**
 * Opens a link to `url`: ws: or wss:, its last segment is a ticket.
 * @throws WstunError as dialWebSocket
 */
export type DialLink = (url: URL, options: CarrierOptions) => Promise<MessageLink>;

interface Carrier {
  readonly name: CarrierName;
  /** Feature bits in the ticket, by which the relay knows what the request is for (docs/protocol.md §2.2). */
  readonly features: number;
  readonly dial: DialLink;
}

/** Loaded when it is used: few networks need it. */
const dialHttp: DialLink = async (url, { sealRequest, ...options }) => {
  if (sealRequest === undefined) throw new RangeError('an HTTP link needs the key of its ticket');
  const { dialHttpLink } = await import('../../transport/http-node/http-dial.ts');
  return dialHttpLink(url, { ...options, seal: sealRequest });
};

/** The cheapest first. */
export const CARRIERS: readonly Carrier[] = [
  { name: 'websocket', features: 0, dial: dialWebSocket },
  { name: 'http', features: HTTP_FEATURE, dial: dialHttp },
];

export function carrierOf(name: CarrierName): Carrier {
  const carrier = CARRIERS.find((one) => one.name === name);
  if (carrier === undefined) throw new RangeError(`there is no carrier ${name}`);
  return carrier;
}
