/** Connections that a listener at the exit has accepted: dials where they lead, and pipes. Owns the local sockets. */
import type { Socket } from 'node:net';
import { type Clock, systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { ForwardLog } from '../forward/forward-log.ts';
import type { HostPort } from '../net/host-port.ts';
import type { Logger } from '../observability/logger.ts';
import { pipeSocket } from '../tunnel/stream/socket-pipe.ts';
import { resetSocket } from '../tunnel/stream/socket-reset.ts';
import type { OfferedStream, Target, TunnelStream } from '../tunnel/stream/stream.ts';
import { dialLocally, wireFaultOf } from './local-dial.ts';
import { proxyHeader } from './proxy-v2.ts';
import { placeOf, type RemoteForward } from './remote-forward.ts';
import { readSocksRequest } from './socks-stream.ts';

/** Of one forward at once; more are refused. */
export const MAX_CONNECTIONS = 512;
/** How long a program may take to read why its request was refused, ms; as of the local proxy. */
const LINGER_MS = 10_000;

export interface AcceptedConnectionsParts {
  readonly forward: RemoteForward;
  readonly logger: Logger;
  readonly clock?: Clock;
}

export class AcceptedConnections {
  private readonly open = new Map<OfferedStream, Promise<void>>();
  private readonly streams = new Set<TunnelStream>();
  private readonly clock: Clock;
  private readonly log: ForwardLog;
  private readonly dials = new Set<AbortController>();
  private isOver = false;

  constructor(private readonly parts: AcceptedConnectionsParts) {
    this.clock = parts.clock ?? systemClock;
    this.log = new ForwardLog(parts.logger, 'a connection', this.clock);
  }

  /** @param bound where it was accepted, asked when it is needed */
  handleConnection(offer: OfferedStream, bound: () => Target): void {
    if (this.open.size >= MAX_CONNECTIONS || this.isOver) {
      offer.refuse('dial-busy');
      offer.release();
      return;
    }
    const served = this.serve(offer, bound)
      .catch((error: unknown) =>
        this.parts.logger.error({ error: String(error) }, 'a forwarded connection failed with an internal error'),
      )
      .finally(() => {
        this.open.delete(offer);
        offer.release();
      });
    this.open.set(offer, served);
  }

  /** Gives what is open `graceMs`, then resets it. Never rejects. */
  async close(graceMs: number): Promise<void> {
    const limit = this.clock.setTimeout(() => {
      this.isOver = true;
      for (const dial of this.dials) dial.abort();
      for (const stream of this.streams) stream.destroy(new WstunError('shutting-down'));
    }, graceMs);
    await Promise.all(this.open.values());
    this.clock.clearTimeout(limit);
  }

  private serve(offer: OfferedStream, bound: () => Target): Promise<void> {
    const { to } = this.parts.forward;
    return to === 'socks' ? this.serveSocks(offer) : this.serveTarget(offer, to, bound);
  }

  private async serveTarget(offer: OfferedStream, to: HostPort, bound: () => Target): Promise<void> {
    let socket: Socket;
    try {
      socket = await this.dial(to, offer.signal);
    } catch (error) {
      if (offer.signal.aborted) return;
      const fault = wireFaultOf(error);
      this.log.noteRefused(new WstunError(fault), placeOf(this.parts.forward));
      offer.refuse(fault);
      return;
    }
    if (offer.signal.aborted) {
      resetSocket(socket);
      return;
    }
    const stream = offer.accept();
    if (this.parts.forward.proxyHeader) socket.write(proxyHeader(offer.target, bound()));
    await this.pipe(socket, stream);
  }

  private async serveSocks(offer: OfferedStream): Promise<void> {
    const stream = offer.accept();
    this.streams.add(stream);
    try {
      const request = await readSocksRequest(stream, this.clock);
      const socket = await this.dial(request.to, offer.signal).catch((error: unknown) => {
        stream.write(Buffer.from(request.failed(wireFaultOf(error))));
        throw error;
      });
      stream.write(Buffer.from(request.granted));
      await this.pipe(socket, stream);
    } catch (error) {
      this.parts.logger.debug({ error: String(error) }, 'a SOCKS request through the exit was refused');
      await this.endWithReply(stream);
    } finally {
      this.streams.delete(stream);
    }
  }

  private async dial(to: HostPort, signal: AbortSignal): Promise<Socket> {
    const gone = new AbortController();
    const cancel = (): void => gone.abort();
    this.dials.add(gone);
    signal.addEventListener('abort', cancel);
    if (signal.aborted || this.isOver) cancel();
    try {
      return await dialLocally(to, gone.signal, this.clock);
    } finally {
      signal.removeEventListener('abort', cancel);
      this.dials.delete(gone);
    }
  }

  private async pipe(socket: Socket, stream: TunnelStream): Promise<void> {
    this.streams.add(stream);
    const { error, fromSocket, toSocket } = await pipeSocket(socket, stream);
    this.streams.delete(stream);
    this.parts.logger.debug({ fromSocket, toSocket, cut: error?.message }, 'a forwarded connection is closed');
  }

  /** A last reply was written: it arrives before the end. */
  private async endWithReply(stream: TunnelStream): Promise<void> {
    if (stream.destroyed) return;
    const closed = new Promise<void>((resolve) => stream.once('close', () => resolve()));
    const limit = this.clock.setTimeout(() => stream.destroy(new WstunError('target-reset')), LINGER_MS);
    stream.on('error', () => {});
    stream.end();
    stream.resume();
    await closed;
    this.clock.clearTimeout(limit);
  }
}
