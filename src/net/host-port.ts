/** A host and a port, and how the two are written together (RFC 3986 §3.2). Pure. */

export interface HostPort {
  /** A name or an address, an IPv6 address without brackets. */
  readonly host: string;
  /** 0 to 65535; 0 lets the system choose. */
  readonly port: number;
}

/** `HOST:PORT`, an IPv6 address in brackets. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The host of `HOST:PORT`, without brackets; the text itself where there is no port. */
export function addressIn(place: string): string {
  return place.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}
