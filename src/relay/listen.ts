/** Listening on an address, with a fault that a person understands where that fails. */
import { once } from 'node:events';
import { isIPv6, type Server } from 'node:net';
import { WstunError } from '../errors.ts';

export interface ListenAddress {
  readonly host: string;
  /** 0 to 65535; 0 lets the system choose. */
  readonly port: number;
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'something else listens there already',
  EACCES: 'not permitted; ports below 1024 are often for root alone',
  EADDRNOTAVAIL: 'this machine does not have that address',
  ENOTFOUND: 'that name does not exist',
};

/**
 * The address that it became.
 * @throws WstunError cannot-listen
 */
export async function listen(server: Server, { host, port }: ListenAddress): Promise<ListenAddress> {
  try {
    server.listen({ host, port });
    await once(server, 'listening');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown reason';
    throw new WstunError('cannot-listen', `${formatAddress({ host, port })}: ${REASONS[code] ?? code}`, {
      cause: error,
    });
  }
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? { host: bound.address, port: bound.port } : { host, port };
}

function formatAddress({ host, port }: ListenAddress): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}
