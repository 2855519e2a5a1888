/**
 * The exit: takes the streams that a session offers, and for each checks the target, resolves it, checks the answers,
 * dials, and pipes between socket and stream. Only policy.ts decides what may be dialled; tunnel/stream/socket-pipe.ts
 * moves the bytes.
 *
 * An offer counts in its session until no look-up, dial or socket of it is left here: a peer that opens and resets in a
 * loop gains nothing (CVE-2023-44487, "rapid reset").
 */
import type { Socket } from 'node:net';
import { FAULTS, type FaultName, type WireFaultName, WstunError } from '../errors.ts';
import type { IpBytes } from '../net/ip.ts';
import type { Logger } from '../observability/logger.ts';
import type { Tally } from '../observability/tally.ts';
import { pipeSocket, type RateLimiter } from '../tunnel/stream/socket-pipe.ts';
import type { OfferedStream, StreamAcceptor, TunnelStream } from '../tunnel/stream/stream.ts';
import { destinationOfAddress, destinationOfName } from './destinations.ts';
import { DEFAULT_DIAL_SLOT_LIMITS, type DialSlotLimits, DialSlots, WaitBudget, withSlot } from './dial-slots.ts';
import { createDialer, type Dial } from './dialer.ts';
import { EntryLimiter, type RateLimiters } from './peer-rate-limiter.ts';
import { type AddressContext, checkAddresses, checkTarget, type OwnEndpoints, type ResolveDecision } from './policy.ts';
import type { Resolver } from './resolver.ts';
import type { Rule } from './rules.ts';
import { SpareSockets } from './spare-sockets.ts';
import { dialFaultOf } from './target-dial-faults.ts';

export interface ExitOptions {
  readonly resolver: Resolver;
  /** The current rules of an access entry: asked at every offer. */
  readonly rulesFor: (peer: string) => readonly Rule[];
  /** Asked at every offer. */
  readonly ownEndpoints: () => OwnEndpoints;
  readonly logger: Logger;
  /** Counts streams that are refused, by the names of their faults. */
  readonly refusals?: Tally;
  /** Bits a second in each direction for all streams of an access entry, currently; undefined: no limit. */
  readonly rateOf?: (peer: string) => number | undefined;
  /** What access entries may use and have used. */
  readonly quotas?: Quotas;
  readonly limits?: Partial<DialSlotLimits>;
  /** True while no new stream may begin. */
  readonly isOverloaded?: () => boolean;
  /** Default: directly. */
  readonly dial?: Dial;
}

interface Quotas {
  isUsedUp(peer: string): boolean;
  /** Payload bytes, of either direction. */
  count(peer: string, bytes: number): void;
}

interface ExitCounters {
  /** Offers that are being resolved or dialled now. */
  readonly pending: number;
  /** Streams piped to a socket now. */
  readonly open: number;
  /** Since the start. */
  readonly accepted: number;
  readonly refused: Readonly<Partial<Record<WireFaultName, number>>>;
}

export class Exit implements StreamAcceptor {
  private readonly limits: DialSlotLimits;
  private readonly lookUps: DialSlots;
  private readonly dials: DialSlots;
  private readonly spares: SpareSockets;
  private readonly dial: Dial;
  /** Piped streams, by peer. */
  private readonly live = new Map<string, Set<TunnelStream>>();
  private readonly limiters: EntryLimiter;
  private readonly refused = new Map<WireFaultName, number>();
  private open = 0;
  private accepted = 0;

  constructor(private readonly options: ExitOptions) {
    this.limits = { ...DEFAULT_DIAL_SLOT_LIMITS, ...options.limits };
    this.lookUps = new DialSlots(this.limits);
    this.dials = new DialSlots(this.limits);
    this.spares = new SpareSockets(this.limits);
    this.dial = options.dial ?? createDialer();
    this.limiters = new EntryLimiter(options.rateOf ?? (() => undefined));
  }

  handleOffer(offer: OfferedStream): void {
    void this.serve(offer);
  }

  counters(): ExitCounters {
    return {
      pending: this.lookUps.taken + this.dials.taken,
      open: this.open,
      accepted: this.accepted,
      refused: Object.fromEntries(this.refused),
    };
  }

  private async serve(offer: OfferedStream): Promise<void> {
    const socket = await this.connect(offer).catch((error: unknown) => this.refuse(offer, error));
    if (socket) await this.pipe(offer, socket);
    offer.release();
  }

  /** Rejects with the fault that the peer is told. */
  private async connect(offer: OfferedStream): Promise<Socket> {
    this.refuseIfOverloaded();
    if (this.options.quotas?.isUsedUp(offer.peer)) throw new WstunError('quota-used');
    const { rulesFor, ownEndpoints, resolver } = this.options;
    const context = {
      rules: rulesFor(offer.peer),
      own: ownEndpoints(),
      fullNamesOf: (name: string) => resolver.fullNamesOf(name),
    };
    const decision = checkTarget(offer.target, context);
    if (decision.kind === 'refuse') throw new WstunError(decision.fault, decision.reason);
    const waitBudget = new WaitBudget(this.limits.waitMs);
    const addresses =
      decision.kind === 'dial' ? decision.addresses : await this.resolve(offer, decision, { ...context, waitBudget });
    return await this.dialInSlot(addresses, offer, waitBudget);
  }

  private refuseIfOverloaded(): void {
    if (this.options.isOverloaded?.()) throw new WstunError('dial-busy', 'it is short of memory or file descriptors');
  }

  private async resolve(
    { peer, target, signal }: OfferedStream,
    { names, ifUnknown }: ResolveDecision,
    { waitBudget, ...context }: Omit<AddressContext, 'vouched'> & { readonly waitBudget: WaitBudget },
  ): Promise<readonly IpBytes[]> {
    const asked = names.map(({ name }) => name);
    const destinations = asked.slice(0, 1).map(destinationOfName);
    const look = (within: AbortSignal) => this.options.resolver.resolve(asked, within);
    const resolved = withSlot(this.lookUps, { peer, destinations, signal, waitBudget }, look);
    const { name, addresses } = await resolved.catch((error: unknown) => {
      const isUnknown = error instanceof WstunError && error.fault === 'dial-name-unknown';
      throw isUnknown && ifUnknown ? new WstunError(ifUnknown.fault, ifUnknown.reason) : error;
    });
    const vouched = names.some((full) => full.name === name && full.vouched);
    const decision = checkAddresses(addresses, target.port, { ...context, vouched });
    if (decision.kind === 'refuse') throw new WstunError(decision.fault, decision.reason);
    return decision.addresses;
  }

  private async dialInSlot(
    addresses: readonly IpBytes[],
    offer: OfferedStream,
    waitBudget: WaitBudget,
  ): Promise<Socket> {
    const { peer, target, signal } = offer;
    const destinations = addresses.map((ip) => destinationOfAddress(ip, target.port));
    return await withSlot(this.dials, { peer, destinations, signal, waitBudget }, async (within) => {
      // Again: others may have taken what was free when the stream was offered.
      this.refuseIfOverloaded();
      const socket = await this.dial(addresses, target.port, within, this.spares.of(peer));
      if (!within.aborted) return socket;
      socket.destroy();
      await closeOf(socket);
      throw new WstunError('dial-cancelled');
    });
  }

  /** Until both socket and stream are closed. Never rejects. */
  private async pipe(offer: OfferedStream, socket: Socket): Promise<void> {
    this.accepted++;
    this.open++;
    const { peer, target } = offer;
    const stream = offer.accept();
    const streams = this.live.get(peer) ?? new Set();
    this.live.set(peer, streams.add(stream));
    this.options.logger.debug({ peer, target, remote: socket.remoteAddress }, 'stream opened');
    const { error, fromSocket, toSocket } = await pipeSocket(socket, stream, { limiters: this.countedLimiters(peer) });
    this.limiters.release(peer);
    streams.delete(stream);
    if (streams.size === 0) this.live.delete(peer);
    this.open--;
    this.options.logger.debug({ peer, target, fromSocket, toSocket, cut: error?.message }, 'stream closed');
  }

  private countedLimiters(peer: string): RateLimiters {
    const { quotas } = this.options;
    const { fromSocket, toSocket } = this.limiters.hold(peer);
    if (quotas === undefined) return { fromSocket, toSocket };
    const counted = (limiter: RateLimiter): RateLimiter => ({
      send: (chunk, sink) => {
        const { length } = chunk;
        limiter.send(chunk, sink);
        quotas.count(peer, length);
        if (quotas.isUsedUp(peer)) this.abortAll(peer, 'quota-used');
      },
    });
    return { fromSocket: counted(fromSocket), toSocket: counted(toSocket) };
  }

  private abortAll(peer: string, fault: WireFaultName): void {
    for (const stream of this.live.get(peer) ?? []) stream.destroy(new WstunError(fault));
  }

  private refuse(offer: OfferedStream, error: unknown): void {
    const { peer, target } = offer;
    const fault = wireFaultOf(error);
    // An internal error may name the destination: it is only for `debug`.
    if (fault === 'internal')
      this.options.logger.error({ peer }, 'a stream failed with an internal error; see the debug log');
    const detail = error instanceof WstunError ? error.detail : String(error);
    this.options.logger.debug({ peer, target, fault, detail }, 'stream refused');
    this.options.refusals?.note(fault);
    this.refused.set(fault, (this.refused.get(fault) ?? 0) + 1);
    offer.refuse(fault);
  }
}

function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });
}

/** A resource that the system denies this process is `dial-busy` (docs/errors.md), not an internal error. */
function wireFaultOf(error: unknown): WireFaultName {
  if (error instanceof WstunError && isWireFault(error.fault)) return error.fault;
  return dialFaultOf(error) === 'dial-busy' ? 'dial-busy' : 'internal';
}

function isWireFault(name: FaultName): name is WireFaultName {
  return 'wire' in FAULTS[name];
}
