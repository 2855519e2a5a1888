/** The address and port of a name server, as node:dns writes them. Pure. */

export interface NameServer {
  /** Literal, perhaps with a zone. */
  readonly host: string;
  readonly port: number;
}

const DNS_PORT = 53;

/** @param text `IP`, `IP:PORT` or `[IPV6]:PORT` */
export function parseNameServer(text: string): NameServer {
  const [, six, four, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(text) ?? [];
  return { host: six ?? four ?? text, port: port === undefined ? DNS_PORT : Number(port) };
}
