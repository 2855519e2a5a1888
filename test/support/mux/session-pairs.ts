/**
 * Joined ends of a session for the compliance suite: SessionDrivers over any two links, and pure sessions over nothing.
 */
import { systemClock } from '../../../src/clock.ts';
import type { WireFaultName } from '../../../src/errors.ts';
import { WstunError } from '../../../src/errors.ts';
import { DEFAULT_MUX_CONFIG, type MuxConfig } from '../../../src/mux/config.ts';
import type { MuxEvent } from '../../../src/mux/events.ts';
import { DEFAULT_RESUME_CONFIG, type ResumeConfig } from '../../../src/mux/links/resume-config.ts';
import { RetransmitMemory } from '../../../src/mux/links/retransmit-store.ts';
import { MuxSession } from '../../../src/mux/session.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { type LinkStart, SessionDriver } from '../../../src/tunnel/session/session-driver.ts';
import { MuxStream, type StreamOwner } from '../../../src/tunnel/stream/mux-stream.ts';
import { Offer } from '../../../src/tunnel/stream/offer.ts';
import type { Target, TunnelStream } from '../../../src/tunnel/stream/stream.ts';
import type { ComplianceEnd, CompliancePair, PairSetup } from './mux-compliance.ts';

function onlyTcp(): never {
  throw new Error('only TCP is offered');
}

/** A session that ends with its link, as the suite has it. */
const WITH_ITS_LINK: ResumeConfig = { ...DEFAULT_RESUME_CONFIG, resumeWindowMs: 0 };

/** Neither end has received anything. */
export const FIRST_LINK: LinkStart = { peerReceived: 0, saidReceived: 0 };

/** `near` carries the client. `release` frees what is under the links. */
export function driverPair(
  links: { near: MessageLink; far: MessageLink; release?: (() => void | Promise<void>) | undefined },
  setup: PairSetup,
): CompliancePair {
  const common = { logger: silentLogger, resume: WITH_ITS_LINK, replayMemory: new RetransmitMemory(64 * 1024 * 1024) };
  const client = new SessionDriver(
    { ...common, mux: { ...DEFAULT_MUX_CONFIG, ...setup.config, role: 'client' } },
    { onEnd: (fault) => setup.onEnd('client', fault) },
  );
  const exit = new SessionDriver(
    {
      ...common,
      mux: { ...DEFAULT_MUX_CONFIG, ...setup.config, role: 'exit' },
      acceptor: { handleOffer: (offer) => setup.onOffer(offer) },
    },
    { peer: 'alice', onEnd: (fault) => setup.onEnd('exit', fault) },
  );
  client.attachLink(links.near, FIRST_LINK);
  exit.attachLink(links.far, FIRST_LINK);
  return {
    client,
    exit,
    cut: () => links.near.abort(),
    async release() {
      for (const link of [links.near, links.far]) link.abort();
      await links.release?.();
    },
  };
}

/** Two pure sessions whose records are handed over in memory, at a standing clock. */
export function purePair(setup: PairSetup): CompliancePair {
  const client = new PureEnd({ ...DEFAULT_MUX_CONFIG, ...setup.config, role: 'client' }, setup);
  const exit = new PureEnd({ ...DEFAULT_MUX_CONFIG, ...setup.config, role: 'exit' }, setup);
  client.peer = exit;
  exit.peer = client;
  const cut = (): void => {
    for (const end of [client, exit]) end.call((session) => session.handleLinkLost('link-lost'));
  };
  return { client, exit, cut, release: async () => cut() };
}

const NOW = 0;

class PureEnd implements ComplianceEnd, StreamOwner {
  readonly clock = systemClock;
  readonly isAttached = true;
  peer: PureEnd | undefined;
  private readonly session: MuxSession;
  private readonly setup: PairSetup;
  private readonly role: MuxConfig['role'];
  private readonly streams = new Map<number, MuxStream>();
  private readonly opening = new Map<number, { resolve(stream: TunnelStream): void; reject(error: Error): void }>();
  private readonly offers = new Map<number, Offer>();
  private readonly targets = new Map<number, Target>();
  private readonly drains: (() => void)[] = [];
  private pumping = false;

  constructor(config: MuxConfig, setup: PairSetup) {
    this.session = new MuxSession(config, NOW);
    this.session.handleAttached(NOW);
    this.setup = setup;
    this.role = config.role;
  }

  get streamCount(): number {
    return this.streams.size;
  }

  /** Something was asked of the session: what follows from it is seen to in a turn of its own. */
  call<T>(act: (session: MuxSession) => T): T {
    const result = act(this.session);
    if (!this.pumping) setImmediate(() => this.pump());
    this.pumping = true;
    return result;
  }

  private pump(): void {
    this.pumping = false;
    for (let record = this.session.pollRecord(NOW); record; record = this.session.pollRecord(NOW)) {
      const pieces = record.map((piece) => Uint8Array.from(piece));
      this.peer?.call((session) => {
        for (const piece of pieces) session.handleRecord(piece, NOW);
      });
    }
    for (let event = this.session.pollEvent(); event; event = this.session.pollEvent()) this.handle(event);
    if (this.session.isIdle || this.session.isOver) for (const resolve of this.drains.splice(0)) resolve();
  }

  open(target: Target, signal: AbortSignal): Promise<TunnelStream> {
    const opened = this.call((session) => session.open(target, NOW));
    if ('refused' in opened) return Promise.reject(new WstunError(opened.refused));
    if ('heldUntil' in opened) return Promise.reject(new WstunError('dial-busy'));
    const id = opened.stream;
    this.targets.set(id, target);
    return new Promise((resolve, reject) => {
      this.opening.set(id, { resolve, reject });
      signal.addEventListener('abort', () => {
        if (!this.opening.delete(id)) return;
        this.call((session) => session.reset(id, 'dial-cancelled', NOW));
        reject(new WstunError('dial-cancelled'));
      });
    });
  }

  drain(): Promise<void> {
    this.call((session) => session.drain());
    return new Promise((resolve) => this.drains.push(resolve));
  }

  end(fault: WireFaultName): void {
    this.call((session) => session.fail(fault));
  }

  write = (id: number, bytes: Uint8Array): boolean => this.call((session) => session.write(id, bytes));
  finish = (id: number): void => this.call((session) => session.finish(id));
  consume = (id: number, bytes: number): void => this.call((session) => session.consume(id, bytes, NOW));

  forget(id: number, fault: WireFaultName): void {
    if (this.streams.delete(id)) this.call((session) => session.reset(id, fault, NOW));
  }

  private handle(event: MuxEvent): void {
    const stream = 'stream' in event ? this.streams.get(event.stream) : undefined;
    switch (event.type) {
      case 'data':
        return stream?.handleData(event.bytes);
      case 'writable':
        return stream?.handleWritable();
      case 'finish':
        return stream?.handleFinish();
      case 'finish-sent':
        return stream?.handleFinishSent();
      case 'reset':
        if (event.fault === 'target-reset' && !this.session.isOver) stream?.handleLateReset(event.fault);
        else {
          this.streams.delete(event.stream);
          stream?.handleReset(event.fault);
        }
        return this.offers.get(event.stream)?.cancel();
      case 'cancelled':
        return this.offers.get(event.stream)?.cancel();
      case 'opened':
      case 'open-failed':
        return this.answer(event);
      case 'offer':
        return this.offer(event.stream, event.request.target);
      case 'ended':
        return this.setup.onEnd(this.role, event.fault);
      case 'datagram':
      case 'established':
      case 'pong':
      case 'peer-draining':
      case 'links-wanted':
      case 'relays':
        return;
    }
  }

  private answer(event: MuxEvent & { type: 'opened' | 'open-failed' }): void {
    const pending = this.opening.get(event.stream);
    this.opening.delete(event.stream);
    if (event.type === 'opened') pending?.resolve(this.add(event.stream, this.targets.get(event.stream)!));
    else pending?.reject(new WstunError(event.fault));
  }

  private offer(id: number, target: Target): void {
    const offer = new Offer('tcp', target, 'alice', {
      accept: () => {
        if (this.call((session) => session.accept(id, NOW))) return this.add(id, target);
        return new MuxStream(this, id, target).destroy();
      },
      acceptAssociation: onlyTcp,
      acceptListener: onlyTcp,
      isAway: () => false,
      refuse: (fault) => this.call((session) => session.refuse(id, fault)),
      release: () => {
        this.offers.delete(id);
        this.call((session) => session.release(id));
      },
    });
    this.offers.set(id, offer);
    this.setup.onOffer(offer);
  }

  private add(id: number, target: Target): MuxStream {
    const stream = new MuxStream(this, id, target);
    this.streams.set(id, stream);
    return stream;
  }
}
