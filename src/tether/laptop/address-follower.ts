/**
 * Has a tether served where address-choice.ts says, and says what came of it. Does not watch the network: whoever does
 * calls `look` with each change. Of itself it looks only when a step is due, at what may have changed since.
 */
import { type Clock, systemClock, type Timer } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import { AddressChoice, type AddressStep } from './address-choice.ts';
import type { LanAddress } from './lan-address.ts';
import type { TetherPlace, TetherServer } from './tether-server.ts';

export interface AddressFollowerOptions {
  readonly server: Pick<TetherServer, 'address' | 'serve' | 'retain' | 'showCode'>;
  readonly port: number;
  /** Where to listen, whatever addresses there are. Undefined: at the chosen one alone. */
  readonly host: string | undefined;
  /** The likeliest first. A throw: not known. */
  readonly addresses: () => readonly LanAddress[];
  /** Nobody can come; also in answer to `showCode`. */
  readonly onNoAddress: (why: 'no-lan-address' | 'interfaces-hidden') => void;
  /**
   * It cannot listen at the address that it should; tried again at the next look. Not called again for the same reason.
   */
  readonly onRefused: (error: WstunError) => void;
  /** Default: the system's. */
  readonly clock?: Clock;
}

export class AddressFollower {
  private readonly options: AddressFollowerOptions;
  private readonly clock: Clock;
  private readonly choice = new AddressChoice();
  private served: TetherPlace | undefined;
  /** That codes led to. */
  private lastAddress: string | undefined;
  private timer: Timer | undefined;
  /** Under way to another address. */
  private isBusy = false;
  private mustLook = false;
  /** At the last look. */
  private isHidden = false;
  private lastRefusal: string | undefined;
  private closed = false;

  constructor(options: AddressFollowerOptions) {
    this.options = options;
    this.clock = options.clock ?? systemClock;
  }

  /** @throws WstunError cannot-listen */
  async start(): Promise<void> {
    const address = this.choice.begin(this.found() ?? []);
    await this.serve(address);
    if (address === undefined) this.tellNone();
  }

  /** Addresses may have changed. */
  look(): void {
    this.lookNow(false);
  }

  /** A person wants a code, or to know why there is none: nothing is waited for that may still settle. */
  showCode(): void {
    this.lastRefusal = undefined;
    this.lookNow(true);
  }

  close(): void {
    this.closed = true;
    this.clock.clearTimeout(this.timer);
  }

  private lookNow(isAsked: boolean): void {
    this.mustLook = this.isBusy;
    if (this.closed || this.isBusy) return;
    this.clock.clearTimeout(this.timer);
    const now = this.clock.now();
    const found = this.found();
    if (found !== undefined) {
      this.options.server.retain(new Set(found.map(({ address }) => address)));
      this.choice.handleLook(found, now);
    }
    if (isAsked) this.choice.hurry(now);
    const step = this.choice.pollStep(now);
    if (step !== undefined) return void this.take(step, isAsked);
    if (isAsked) this.answer();
    this.lookAt(this.choice.pollTimeout(), now);
  }

  private answer(): void {
    const { server } = this.options;
    if (server.address === undefined) this.tellNone();
    else server.showCode();
  }

  private tellNone(): void {
    if (this.closed) return;
    this.options.onNoAddress(this.isHidden ? 'interfaces-hidden' : 'no-lan-address');
  }

  /** Undefined where a sandbox hides them: no reason to move, nor to end. */
  private found(): readonly LanAddress[] | undefined {
    this.isHidden = true;
    try {
      const found = this.options.addresses();
      this.isHidden = false;
      return found;
    } catch {
      return undefined;
    }
  }

  private lookAt(due: number | undefined, now: number): void {
    if (due === undefined) return;
    this.timer = this.clock.setTimeout(() => this.look(), Math.ceil(due - now));
    this.timer.unref();
  }

  /** Never rejects. */
  private async take({ address }: AddressStep, isAsked: boolean): Promise<void> {
    this.isBusy = true;
    try {
      // Elsewhere the server shows a new code by itself.
      const isWhereItWas = address !== undefined && address === this.lastAddress;
      await this.serve(address);
      if (isAsked && isWhereItWas) this.options.server.showCode();
      this.lastRefusal = undefined;
      this.choice.handleServed(address, this.clock.now());
      if (address === undefined) this.tellNone();
    } catch (error) {
      this.choice.handleRefused();
      // Not while the one before is there: then codes go on leading to it.
      if (this.choice.current === undefined && this.options.server.address !== undefined) await this.serve(undefined);
      this.tell(error instanceof WstunError ? error : new WstunError('internal', String(error)));
      if (isAsked && this.options.server.address !== undefined) this.answer();
    }
    this.isBusy = false;
    if (this.mustLook) this.look();
  }

  /** Without an address the listener stays where it was: it works again as soon as that is back. */
  private async serve(address: string | undefined): Promise<void> {
    const { server, port } = this.options;
    const host = this.options.host ?? address ?? this.served?.host;
    if (host === undefined) return;
    const place = { host, port, publicHost: address };
    await server.serve(place);
    this.served = place;
    this.lastAddress = address ?? this.lastAddress;
  }

  private tell(error: WstunError): void {
    if (this.closed || error.message === this.lastRefusal) return;
    this.lastRefusal = error.message;
    this.options.onRefused(error);
  }
}
