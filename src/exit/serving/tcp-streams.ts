/**
 * Streams that are TCP connections: dials what target-finder.ts has found, and pipes between socket and stream.
 * tunnel/stream/socket-pipe.ts moves the bytes.
 */
import type { Socket } from 'node:net';
import { WstunError } from '../../errors.ts';
import type { IpBytes } from '../../net/ip.ts';
import type { Logger } from '../../observability/logger.ts';
import { pipeSocket } from '../../tunnel/stream/socket-pipe.ts';
import type { OfferedStream } from '../../tunnel/stream/stream.ts';
import { destinationOfAddress } from '../destinations.ts';
import { type DialSlotLimits, DialSlots, WaitBudget, withSlot } from '../dial-slots.ts';
import type { Dial } from '../dialer.ts';
import { SpareSockets } from '../spare-sockets.ts';
import type { DialTimes } from '../stream-counts.ts';
import type { TargetFinder } from '../target-finder.ts';
import type { Traffic } from '../traffic.ts';

interface TcpStreamsOptions {
  readonly finder: TargetFinder;
  readonly traffic: Traffic;
  readonly limits: DialSlotLimits;
  readonly dial: Dial;
  /** Undefined: they are not timed. */
  readonly dialTimes?: DialTimes | undefined;
  /** @throws WstunError dial-busy */
  readonly refuseIfOverloaded: () => void;
  readonly logger: Logger;
}

export class TcpStreams {
  private readonly dials: DialSlots;
  private readonly spares: SpareSockets;

  constructor(private readonly options: TcpStreamsOptions) {
    this.dials = new DialSlots(options.limits);
    this.spares = new SpareSockets(options.limits);
  }

  /** Offers that are being dialled now. */
  get pending(): number {
    return this.dials.taken;
  }

  /** Until nothing of it is left. Rejects, before it is accepted, with the fault that the peer is told. */
  async serve(offer: OfferedStream): Promise<void> {
    const { peer, target, signal } = offer;
    const waitBudget = new WaitBudget(this.options.limits.waitMs);
    const addresses = await this.options.finder.find({ peer, target, signal, waitBudget }, 'tcp');
    await this.pipe(offer, await this.dialInSlot(addresses, offer, waitBudget));
  }

  private async dialInSlot(
    addresses: readonly IpBytes[],
    { peer, target, signal }: OfferedStream,
    waitBudget: WaitBudget,
  ): Promise<Socket> {
    const destinations = addresses.map((ip) => destinationOfAddress(ip, target.port));
    return await withSlot(this.dials, { peer, destinations, signal, waitBudget }, async (within) => {
      // Again: others may have taken what was free when the stream was offered.
      this.options.refuseIfOverloaded();
      const socket = await this.dial(addresses, target.port, within, peer);
      if (!within.aborted) return socket;
      socket.destroy();
      await closeOf(socket);
      throw new WstunError('dial-cancelled');
    });
  }

  private async dial(addresses: readonly IpBytes[], port: number, signal: AbortSignal, peer: string): Promise<Socket> {
    const { dial, dialTimes } = this.options;
    const dialling = dial(addresses, port, signal, this.spares.of(peer));
    if (dialTimes === undefined) return await dialling;
    const since = performance.now();
    const observe = (outcome: keyof DialTimes) => dialTimes[outcome].observe((performance.now() - since) / 1000);
    dialling.then(
      () => observe('connected'),
      () => observe('failed'),
    );
    return await dialling;
  }

  /** Until both socket and stream are closed. Never rejects. */
  private async pipe(offer: OfferedStream, socket: Socket): Promise<void> {
    const { traffic, logger } = this.options;
    const { peer, target } = offer;
    const stream = offer.accept();
    const share = traffic.begin(peer, (fault) => stream.destroy(new WstunError(fault)));
    logger.debug({ peer, target, remote: socket.remoteAddress }, 'stream opened');
    const { error, fromSocket, toSocket } = await pipeSocket(socket, stream, { limiters: share.limiters });
    share.end();
    logger.debug({ peer, target, fromSocket, toSocket, cut: error?.message }, 'stream closed');
  }
}

function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });
}
