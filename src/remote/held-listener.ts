/** One listener at the exit, held by a keeper: the calls to the tunnel, and the timer between two attempts. */
import type { Clock, Timer } from '../clock.ts';
import { WstunError } from '../errors.ts';
import type { AssociationHandler, ListenerHandler, ListenerOpener } from '../tunnel/stream/services.ts';
import type { OfferedStream, Target } from '../tunnel/stream/stream.ts';
import { type KeeperNotice, ListenerKeeper, type NextAttempt } from './listener-keeper.ts';

/** What comes of a listener. Nothing of it may throw. */
export type ListenerUse =
  | { readonly protocol: 'tcp'; handleConnection(offer: OfferedStream, bound: () => Target): void }
  | {
      readonly protocol: 'udp';
      /** @param send an answer to where it says, while the listener is open */
      handleDatagram(bytes: Uint8Array, from: Target, send: (bytes: Uint8Array, to: Target) => void): void;
    };

export interface HeldListenerParts {
  readonly opener: ListenerOpener;
  readonly address: Target;
  readonly use: ListenerUse;
  readonly onNotice: (notice: KeeperNotice) => void;
  readonly clock: Clock;
}

/** One attempt, and the listener that came of it. What belongs to an earlier one is ignored. */
interface Attempt {
  isOpen: boolean;
  close(): void;
}

export class HeldListener {
  private readonly keeper: ListenerKeeper;
  private attempt: Attempt | undefined;
  private timer: Timer | undefined;
  private isOver = false;

  constructor(private readonly parts: HeldListenerParts) {
    this.keeper = new ListenerKeeper(parts.address);
  }

  start(): void {
    const { use } = this.parts;
    if (use.protocol === 'tcp') this.listenTcp(use.handleConnection);
    else this.listenUdp(use.handleDatagram);
  }

  /** Gives the port back. Idempotent. */
  close(): void {
    this.isOver = true;
    this.parts.clock.clearTimeout(this.timer);
    this.attempt?.close();
    this.attempt = undefined;
  }

  private listenTcp(handleConnection: (offer: OfferedStream, bound: () => Target) => void): void {
    const abort = new AbortController();
    const attempt: Attempt = { isOpen: false, close: () => abort.abort() };
    this.attempt = attempt;
    let bound = this.keeper.address;
    const handler: ListenerHandler = {
      handleConnection: (offer) => handleConnection(offer, () => bound),
      handleEnd: (error) => this.handleEnd(attempt, error),
    };
    this.parts.opener.listenTcp(this.keeper.address, handler, abort.signal).then(
      (listener) => {
        bound = listener.bound;
        if (this.attempt !== attempt) return listener.close();
        attempt.close = () => listener.close();
        this.handleOpened(attempt, bound);
      },
      (error: unknown) => this.handleEnd(attempt, error),
    );
  }

  private listenUdp(handleDatagram: Extract<ListenerUse, { protocol: 'udp' }>['handleDatagram']): void {
    const attempt: Attempt = { isOpen: false, close: () => {} };
    this.attempt = attempt;
    const send = (bytes: Uint8Array, to: Target): void => {
      if (this.attempt === attempt && attempt.isOpen) association?.send(bytes, to);
    };
    const handler: AssociationHandler = {
      handleDatagram: (bytes, from) => from && handleDatagram(bytes, from, send),
      handleOpened: (bound) => this.handleOpened(attempt, bound ?? this.keeper.address),
      handleEnd: (error) => this.handleEnd(attempt, error ?? new WstunError('session-closed')),
    };
    let association: ReturnType<ListenerOpener['listenUdp']> | undefined;
    try {
      association = this.parts.opener.listenUdp(this.keeper.address, handler);
      attempt.close = () => association?.close();
    } catch (error) {
      this.handleEnd(attempt, error);
    }
  }

  private handleOpened(attempt: Attempt, bound: Target): void {
    if (this.attempt !== attempt || attempt.isOpen) return;
    attempt.isOpen = true;
    this.parts.onNotice(this.keeper.handleListening(bound, this.parts.clock.now()));
  }

  private handleEnd(attempt: Attempt, cause: unknown): void {
    if (this.attempt !== attempt || this.isOver) return;
    this.attempt = undefined;
    const error = cause instanceof WstunError ? cause : new WstunError('internal', String(cause));
    const { clock } = this.parts;
    const next = attempt.isOpen
      ? this.keeper.handleEnded(error, clock.now(), clock.random())
      : this.keeper.handleFailed(error, clock.random());
    this.follow(next);
  }

  private follow({ notice, waitMs }: NextAttempt): void {
    if (notice !== undefined) this.parts.onNotice(notice);
    if (this.isOver) return;
    this.timer = this.parts.clock.setTimeout(() => this.start(), waitMs).unref();
  }
}
