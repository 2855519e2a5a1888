/** Serves a tether at the address that address-choice.ts chooses. Its owner calls `look` at changes. */
import { type Clock, systemClock, type Timer } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import { AddressChoice, type AddressStep } from './address-choice.ts';
import type { LanAddress } from './lan-address.ts';
import type { TetherPlace } from './served-addresses.ts';
import type { TetherServer } from './tether-server.ts';

export interface AddressFollowerOptions {
  readonly server: Pick<TetherServer, 'address' | 'serve' | 'setAddresses' | 'showCode'>;
  readonly port: number;
  /** Where to listen, whatever addresses there are. Undefined: only at the chosen one. */
  readonly host: string | undefined;
  /** The most likely first. Throws if they are not known. */
  readonly addresses: () => readonly LanAddress[];
  /** No phone can reach this machine; also in answer to `showCode`. */
  readonly onNoAddress: (why: 'no-lan-address' | 'interfaces-hidden') => void;
  /** It cannot listen at the chosen address, and tries again at the next look. Called once for the same reason. */
  readonly onRefused: (error: WstunError) => void;
  /** Default: the system's. */
  readonly clock?: Clock;
}

export class AddressFollower {
  private readonly clock: Clock;
  private readonly choice = new AddressChoice();
  private served: TetherPlace | undefined;
  /** Where codes led last. */
  private lastAddress: string | undefined;
  private timer: Timer | undefined;
  /** A move to another address is under way. */
  private isMoving = false;
  /** Addresses may have changed during the move. */
  private mustLook = false;
  /** At the last look a sandbox hid the interfaces. */
  private isHidden = false;
  private lastRefusal: string | undefined;
  private closed = false;

  constructor(private readonly options: AddressFollowerOptions) {
    this.clock = options.clock ?? systemClock;
  }

  /** @throws WstunError cannot-listen */
  async start(): Promise<void> {
    const address = this.choice.begin(this.found() ?? []);
    await this.serve(address);
    if (address === undefined) this.reportNoAddress();
  }

  /** Addresses may have changed. */
  look(): void {
    this.lookNow(false);
  }

  /** A person wants a code, or the reason why there is none. Does not wait for addresses to settle. */
  showCode(): void {
    this.lastRefusal = undefined;
    this.lookNow(true);
  }

  close(): void {
    this.closed = true;
    this.clock.clearTimeout(this.timer);
  }

  private lookNow(isAsked: boolean): void {
    this.mustLook = this.isMoving;
    if (this.closed || this.isMoving) return;
    this.clock.clearTimeout(this.timer);
    const now = this.clock.now();
    const found = this.found();
    if (found !== undefined) {
      this.options.server.setAddresses(new Set(found.map(({ address }) => address)));
      this.choice.handleLook(found, now);
    }
    if (isAsked) this.choice.skipWait(now);
    const step = this.choice.pollStep(now);
    if (step !== undefined) return void this.move(step, isAsked);
    if (isAsked) this.answer();
    this.scheduleLook(this.choice.pollTimeout(), now);
  }

  private answer(): void {
    const { server } = this.options;
    if (server.address === undefined) this.reportNoAddress();
    else server.showCode();
  }

  private reportNoAddress(): void {
    if (this.closed) return;
    this.options.onNoAddress(this.isHidden ? 'interfaces-hidden' : 'no-lan-address');
  }

  /** Undefined if a sandbox hides them: no reason to move, nor to end. */
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

  private scheduleLook(due: number | undefined, now: number): void {
    if (due === undefined) return;
    this.timer = this.clock.setTimeout(() => this.look(), Math.ceil(due - now)).unref();
  }

  /** Never rejects. */
  private async move({ address }: AddressStep, isAsked: boolean): Promise<void> {
    this.isMoving = true;
    try {
      // At another address the server shows a new code itself.
      const isSameAddress = address !== undefined && address === this.lastAddress;
      await this.serve(address);
      if (isAsked && isSameAddress) this.options.server.showCode();
      this.lastRefusal = undefined;
      this.choice.handleServed(address, this.clock.now());
      if (address === undefined) this.reportNoAddress();
    } catch (error) {
      this.choice.handleRefused();
      // While the old address exists, codes still lead to it.
      if (this.choice.current === undefined && this.options.server.address !== undefined) await this.serve(undefined);
      this.reportRefused(error instanceof WstunError ? error : new WstunError('internal', String(error)));
      if (isAsked && this.options.server.address !== undefined) this.answer();
    }
    this.isMoving = false;
    if (this.mustLook) this.look();
  }

  /** Without an address the listener stays at the old one: it works again when that is back. */
  private async serve(address: string | undefined): Promise<void> {
    const { server, port } = this.options;
    const host = this.options.host ?? address ?? this.served?.host;
    if (host === undefined) return;
    const place = { host, port, publicHost: address };
    await server.serve(place);
    this.served = place;
    this.lastAddress = address ?? this.lastAddress;
  }

  private reportRefused(error: WstunError): void {
    if (this.closed || error.message === this.lastRefusal) return;
    this.lastRefusal = error.message;
    this.options.onRefused(error);
  }
}
