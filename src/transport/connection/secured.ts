/** The end of the TLS handshake on a connection to a relay. */
import { once } from 'node:events';
import { TLSSocket } from 'node:tls';
import { systemClock } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import type { Connection, ConnectionOptions } from './connection-dial.ts';

/** Waits for the TLS handshake, if there is one. Rejects with the fault of the dial. */
export async function secured(
  connection: Connection,
  { signal, clock = systemClock }: ConnectionOptions,
): Promise<void> {
  const { socket, leftMs } = connection;
  if (!(socket instanceof TLSSocket)) return;
  const limit = new AbortController();
  const timer = clock.setTimeout(() => limit.abort(), leftMs);
  try {
    await once(socket, 'secureConnect', { signal: AbortSignal.any([signal, limit.signal]) });
    // Its certificate was not accepted.
    if (socket.destroyed) throw connection.faultOf({ code: 'ECONNRESET' });
  } catch (error) {
    if (signal.aborted) throw new WstunError('dial-cancelled');
    if (error instanceof WstunError) throw error;
    throw connection.faultOf(limit.signal.aborted ? { code: 'ETIMEDOUT' } : { code: codeOf(error) });
  } finally {
    clock.clearTimeout(timer);
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'ECONNRESET';
}
