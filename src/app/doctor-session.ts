/** A session for an examination: that of a client, with the same parts, and what is tried on it. */
import type { Duplex } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';
import { AbortableWait } from '../async/abortable.ts';
import { systemClock } from '../clock.ts';
import type { Downloaded, OpenSession, Target } from '../doctor/probes.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import type { Logger } from '../observability/logger.ts';
import { targetOfAuthority } from '../proxy/request-target.ts';
import type { SessionDialer } from '../tunnel/dial/session-dialer.ts';
import { TunnelClient } from '../tunnel/session/tunnel-client.ts';

/** Until a download begins, ms. */
const FIRST_BYTE_MS = 2_000;

interface SessionOptions {
  /** Cancels it while there is no session. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
  onEstablished(): void;
}

/** @throws WstunError as the dialer */
export function openSession(dialer: SessionDialer, options: SessionOptions): Promise<OpenSession> {
  const { signal, logger } = options;
  return new Promise((resolve, reject) => {
    const lost = new AbortController();
    const onAbort = (): void => {
      reject(new WstunError('dial-cancelled'));
      void client.close(0);
    };
    const client = new TunnelClient(
      dialer,
      {
        onConnected: ({ first }) => {
          if (!first) return;
          signal.removeEventListener('abort', onAbort);
          options.onEstablished();
          resolve(new RealSession(client, lost.signal));
        },
        onLinkLost: () => lost.abort(),
        onSessionLost: () => lost.abort(),
      },
      logger,
      { once: true, links: 1 },
    );
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    client.run().catch((error: unknown) => {
      lost.abort();
      reject(error);
    });
  });
}

class RealSession implements OpenSession {
  /** @param lost fires when the link is lost */
  constructor(
    private readonly client: TunnelClient,
    private readonly lost: AbortSignal,
  ) {}

  async open(target: HostPort, signal: AbortSignal): Promise<void> {
    const stream = await this.client.open(wireTarget(target), signal);
    stream.on('error', () => {}).destroy();
  }

  async download(target: Target, forMs: number, signal: AbortSignal): Promise<Downloaded> {
    const { host, download } = target;
    if (download === undefined) return { bytes: 0, ms: 0 };
    const stream = (await this.client.open(wireTarget(target), signal)).on('error', () => {});
    try {
      const socket = download.tls ? await startTls(stream, host, signal) : stream;
      socket.write(requestText(target, download.path));
      return await readFor(socket, forMs, signal);
    } finally {
      stream.destroy();
    }
  }

  async idle(forMs: number, signal: AbortSignal): Promise<{ readonly lostAfterMs?: number }> {
    const since = systemClock.now();
    const wait = new AbortableWait<{ readonly lostAfterMs?: number }>({
      ...{ clock: systemClock, signal, limitMs: forMs },
      onExpired: (expired) => expired.resolve({}),
    });
    const onLost = (): void => wait.resolve({ lostAfterMs: systemClock.now() - since });
    if (this.lost.aborted) onLost();
    this.lost.addEventListener('abort', onLost, { once: true });
    return await wait.promise;
  }

  close(): Promise<void> {
    return this.client.close(0);
  }
}

function wireTarget(target: HostPort) {
  const found = targetOfAuthority(formatHostPort(target));
  if (found === undefined) throw new WstunError('dial-bad-target', formatHostPort(target));
  return found;
}

/** `Connection: close`: the end of the answer is that of the stream. */
function requestText(target: Target, path: string): string {
  const isUsualPort = target.port === (target.download?.tls ? 443 : 80);
  const host = isUsualPort ? formatHostPort(target).replace(/:\d+$/, '') : formatHostPort(target);
  const fields = [`Host: ${host}`, 'User-Agent: wstun-doctor', 'Accept: */*', 'Connection: close'];
  return `GET ${path} HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n`;
}

function startTls(stream: Duplex, host: string, signal: AbortSignal): Promise<Duplex> {
  const wait = new AbortableWait<Duplex>({
    ...{ clock: systemClock, signal, limitMs: FIRST_BYTE_MS },
    onExpired: (expired) => expired.reject(new WstunError('dial-timed-out')),
  });
  const socket = tlsConnect({ socket: stream, servername: /^[\d.]+$|:/.test(host) ? '' : host });
  socket.on('error', (error) => wait.reject(new WstunError('dial-failed', `TLS: ${error.message}`)));
  socket.once('secureConnect', () => wait.resolve(socket));
  return wait.promise;
}

/** From the first byte on for so long, or to the end. */
async function readFor(socket: Duplex, forMs: number, signal: AbortSignal): Promise<Downloaded> {
  let bytes = 0;
  let firstAt: number | undefined;
  const wait = new AbortableWait<void>({
    ...{ clock: systemClock, signal, limitMs: FIRST_BYTE_MS },
    onExpired: (expired) => expired.resolve(),
  });
  let lastAt = systemClock.now();
  socket.on('data', (chunk: Uint8Array) => {
    bytes += chunk.length;
    lastAt = systemClock.now();
    if (firstAt !== undefined) return;
    firstAt = lastAt;
    wait.setLimit(forMs);
  });
  for (const event of ['end', 'close', 'error'] as const) socket.once(event, () => wait.resolve());
  await wait.promise;
  return { bytes, ms: lastAt - (firstAt ?? lastAt) };
}
