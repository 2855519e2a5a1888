/**
 * From where the connections and requests of a relay come: the addresses of their sockets, or what trusted proxies say
 * (`--trust-proxy`, `--proxy-protocol`). Reads the header of the PROXY protocol, and nothing behind it.
 */
import type { Socket } from 'node:net';
import type { Clock } from '../../clock.ts';
import { formatHostPort } from '../../net/host-port.ts';
import { type Peeked, peek } from './peek.ts';
import { type ProxiedClient, readProxyHeader } from './proxy-header.ts';
import type { TrustedProxies } from './trusted-proxies.ts';

/** As long as for a request. */
const HEADER_MS = 10_000;
/** Connections of trusted proxies whose header has not come. */
const MAX_WAITING = 1_024;

/** One end of a connection. */
export type Remote = Partial<ProxiedClient>;

/** `192.0.2.1:80`, `[2001:db8::1]:80`; without a port where a proxy gives none. */
export function formatRemote({ address = 'unknown', port }: Remote): string {
  if (port !== undefined) return formatHostPort({ host: address, port });
  return address.includes(':') ? `[${address}]` : address;
}

export class ClientAddresses {
  /** By `connectionKey`. */
  private readonly proxied = new Map<string, ProxiedClient>();
  private waiting = 0;

  constructor(
    private trusted: TrustedProxies,
    private readonly hasProxyProtocol: boolean,
    private readonly clock: Clock,
  ) {}

  /** Whose word counts from now on. */
  trust(trusted: TrustedProxies): void {
    this.trusted = trusted;
  }

  /** @param begin when it is known from where the connection comes; not called if that cannot be learnt */
  receive(socket: Socket, begin: () => void): void {
    if (!this.hasProxyProtocol || !this.trusted.has(socket.remoteAddress)) return begin();
    if (this.waiting >= MAX_WAITING) return void socket.destroy();
    this.waiting += 1;
    peek(socket, {
      clock: this.clock,
      limitMs: HEADER_MS,
      read: readHeader,
      onFound: (client) => {
        if (client !== undefined) this.keep(socket, client);
        begin();
      },
      onOver: () => {
        this.waiting -= 1;
      },
    });
  }

  /** Of a connection that was received. */
  ofConnection(socket: Socket): Remote {
    const { remoteAddress: address, remotePort: port } = socket;
    return (
      (this.proxied.size > 0 ? this.proxied.get(connectionKey(socket)) : undefined) ??
      withoutUndefined({ address, port })
    );
  }

  /** A proxy's: what it carries comes from many addresses, and each request says from which. */
  isProxy(socket: Socket): boolean {
    return this.trusted.has(this.ofConnection(socket).address);
  }

  ofRequest(socket: Socket, headers: Readonly<Record<string, unknown>>): Remote {
    const remote = this.ofConnection(socket);
    const address = this.trusted.has(remote.address) ? this.trusted.clientOf(headers) : undefined;
    return address === undefined ? remote : { address };
  }

  private keep(socket: Socket, client: ProxiedClient): void {
    const key = connectionKey(socket);
    this.proxied.set(key, client);
    socket.once('close', () => this.proxied.delete(key));
  }
}

function readHeader(bytes: Buffer): Peeked<ProxiedClient | undefined> | 'incomplete' | 'malformed' {
  const header = readProxyHeader(bytes);
  return header.state === 'whole' ? { found: header.client, length: header.length } : header.state;
}

function withoutUndefined({ address, port }: { address: string | undefined; port: number | undefined }): Remote {
  return { ...(address !== undefined && { address }), ...(port !== undefined && { port }) };
}

/** Over TLS the socket of a request is another object than the one that was accepted. */
export function connectionKey({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
