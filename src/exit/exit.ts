/**
 * The exit: takes the streams that a session offers, and for each judges the target, resolves it, judges the answers,
 * dials, and joins socket and stream. What may be dialled is decided in policy.ts alone; how bytes cross is
 * tunnel/stream/socket-pipe.ts.
 *
 * An offer keeps its place in the session until nothing of it is left here, no look-up, no dial, no socket: a peer that
 * opens and resets in a loop gains nothing by it (CVE-2023-44487, "rapid reset").
 */
import type { Socket } from 'node:net';
import { FAULTS, type FaultName, type WireFaultName, WstunError } from '../errors.ts';
import type { IpBytes } from '../net/ip.ts';
import type { Logger } from '../observability/logger.ts';
import { type Pace, pipeSocket } from '../tunnel/stream/socket-pipe.ts';
import type { OfferedStream, StreamAcceptor, TunnelStream } from '../tunnel/stream/stream.ts';
import { destinationOfAddress, destinationOfName } from './destinations.ts';
import { DEFAULT_DIAL_SLOT_LIMITS, type DialSlotLimits, DialSlots, Patience, withSlot } from './dial-slots.ts';
import { createDialer, type Dial } from './dialer.ts';
import { EntryLimiter, type Paces } from './entry-limiter.ts';
import { type AddressContext, checkAddresses, checkTarget, type OwnEndpoints, type ResolveDecision } from './policy.ts';
import type { Resolver } from './resolver.ts';
import type { Rule } from './rules.ts';
import { SpareSockets } from './spare-sockets.ts';
import { dialFaultOf } from './target-dial-faults.ts';

export interface ExitOptions {
  readonly resolver: Resolver;
  /** The rules of an access entry as they stand now: asked at every offer. */
  readonly rulesFor: (peer: string) => readonly Rule[];
  /** Asked at every offer. */
  readonly ownEndpoints: () => OwnEndpoints;
  readonly logger: Logger;
  /** Bits a second in each direction for all streams of an access entry, as it stands now; undefined: no limit. */
  readonly rateOf?: (peer: string) => number | undefined;
  /** What access entries may use and have used. */
  readonly quotas?: Quotas;
  readonly limits?: Partial<DialSlotLimits>;
  /** True while no new stream may begin. */
  readonly isOverloaded?: () => boolean;
  /** For tests. */
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
  /** Streams joined to a socket now. */
  readonly open: number;
  /** Since the start. */
  readonly accepted: number;
  readonly refused: Readonly<Partial<Record<WireFaultName, number>>>;
}

export interface Exit extends StreamAcceptor {
  counters(): ExitCounters;
}

export function createExit(options: ExitOptions): Exit {
  return new DiallingExit(options);
}

class DiallingExit implements Exit {
  private readonly options: ExitOptions;
  private readonly limits: DialSlotLimits;
  private readonly lookUps: DialSlots;
  private readonly dials: DialSlots;
  private readonly spares: SpareSockets;
  private readonly dial: Dial;
  /** Joined streams, by peer. */
  private readonly live = new Map<string, Set<TunnelStream>>();
  private readonly paces: EntryLimiter;
  private readonly refused = new Map<WireFaultName, number>();
  private open = 0;
  private accepted = 0;

  constructor(options: ExitOptions) {
    this.options = options;
    this.limits = { ...DEFAULT_DIAL_SLOT_LIMITS, ...options.limits };
    this.lookUps = new DialSlots(this.limits);
    this.dials = new DialSlots(this.limits);
    this.spares = new SpareSockets(this.limits);
    this.dial = options.dial ?? createDialer();
    this.paces = new EntryLimiter(options.rateOf ?? (() => undefined));
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
    if (socket) await this.carry(offer, socket);
    offer.release();
  }

  /** Rejects with what the peer is to be told. */
  private async connect(offer: OfferedStream): Promise<Socket> {
    this.refuseIfOverloaded();
    if (this.options.quotas?.isUsedUp(offer.peer)) throw new WstunError('quota-used');
    const { rulesFor, ownEndpoints, resolver } = this.options;
    const context = {
      rules: rulesFor(offer.peer),
      own: ownEndpoints(),
      fullNamesOf: (name: string) => resolver.fullNamesOf(name),
    };
    const verdict = checkTarget(offer.target, context);
    if (verdict.kind === 'refuse') throw new WstunError(verdict.fault, verdict.reason);
    const patience = new Patience(this.limits.waitMs);
    const addresses =
      verdict.kind === 'dial' ? verdict.addresses : await this.resolve(offer, verdict, { ...context, patience });
    return await this.dialInPlace(addresses, offer, patience);
  }

  private refuseIfOverloaded(): void {
    if (this.options.isOverloaded?.()) throw new WstunError('dial-busy', 'it is short of memory or file descriptors');
  }

  private async resolve(
    { peer, target, signal }: OfferedStream,
    { names, ifUnknown }: ResolveDecision,
    { patience, ...context }: Omit<AddressContext, 'vouched'> & { readonly patience: Patience },
  ): Promise<readonly IpBytes[]> {
    const asked = names.map(({ name }) => name);
    const destinations = asked.slice(0, 1).map(destinationOfName);
    const look = (within: AbortSignal) => this.options.resolver.resolve(asked, within);
    const resolved = withSlot(this.lookUps, { peer, destinations, signal, patience }, look);
    const { name, addresses } = await resolved.catch((error: unknown) => {
      const isUnknown = error instanceof WstunError && error.fault === 'dial-name-unknown';
      throw isUnknown && ifUnknown ? new WstunError(ifUnknown.fault, ifUnknown.reason) : error;
    });
    const vouched = names.some((full) => full.name === name && full.vouched);
    const verdict = checkAddresses(addresses, target.port, { ...context, vouched });
    if (verdict.kind === 'refuse') throw new WstunError(verdict.fault, verdict.reason);
    return verdict.addresses;
  }

  private async dialInPlace(addresses: readonly IpBytes[], offer: OfferedStream, patience: Patience): Promise<Socket> {
    const { peer, target, signal } = offer;
    const destinations = addresses.map((ip) => destinationOfAddress(ip, target.port));
    return await withSlot(this.dials, { peer, destinations, signal, patience }, async (within) => {
      // Again: what was free when the stream was offered, others may have taken since.
      this.refuseIfOverloaded();
      const socket = await this.dial(addresses, target.port, within, this.spares.of(peer));
      if (!within.aborted) return socket;
      socket.destroy();
      await closeOf(socket);
      throw new WstunError('dial-cancelled');
    });
  }

  /** Until both socket and stream are closed. Never rejects. */
  private async carry(offer: OfferedStream, socket: Socket): Promise<void> {
    this.accepted++;
    this.open++;
    const { peer, target } = offer;
    const stream = offer.accept();
    const streams = this.live.get(peer) ?? new Set();
    this.live.set(peer, streams.add(stream));
    this.options.logger.debug({ peer, target, remote: socket.remoteAddress }, 'stream opened');
    const { error, fromSocket, toSocket } = await pipeSocket(socket, stream, { paces: this.countedPaces(peer) });
    this.paces.release(peer);
    streams.delete(stream);
    if (streams.size === 0) this.live.delete(peer);
    this.open--;
    this.options.logger.debug({ peer, target, fromSocket, toSocket, cut: error?.message }, 'stream closed');
  }

  private countedPaces(peer: string): Paces {
    const { quotas } = this.options;
    const { fromSocket, toSocket } = this.paces.hold(peer);
    if (quotas === undefined) return { fromSocket, toSocket };
    const counted = (pace: Pace): Pace => ({
      send: (chunk, sink) => {
        const { length } = chunk;
        pace.send(chunk, sink);
        quotas.count(peer, length);
        if (quotas.isUsedUp(peer)) this.cutAll(peer, 'quota-used');
      },
    });
    return { fromSocket: counted(fromSocket), toSocket: counted(toSocket) };
  }

  private cutAll(peer: string, fault: WireFaultName): void {
    for (const stream of this.live.get(peer) ?? []) stream.destroy(new WstunError(fault));
  }

  private refuse(offer: OfferedStream, error: unknown): void {
    const { peer, target } = offer;
    const fault = wireFaultOf(error);
    // The error of a defect may name the destination: it is for `debug` alone.
    if (fault === 'internal')
      this.options.logger.error({ peer }, 'a stream failed with an internal error; see the debug log');
    const detail = error instanceof WstunError ? error.detail : String(error);
    this.options.logger.debug({ peer, target, fault, detail }, 'stream refused');
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

/** What the system refuses this process is its plight (docs/errors.md), and no defect, wherever it comes up. */
function wireFaultOf(error: unknown): WireFaultName {
  if (error instanceof WstunError && isWireFault(error.fault)) return error.fault;
  return dialFaultOf(error) === 'dial-busy' ? 'dial-busy' : 'internal';
}

function isWireFault(name: FaultName): name is WireFaultName {
  return 'wire' in FAULTS[name];
}
