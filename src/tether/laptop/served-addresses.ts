/** Where a tether listens: the current address, and earlier ones while pages use them or may return to them. */
import { formatHostPort, type HostPort } from '../../net/host-port.ts';
import { TetherListener, type TetherListenerOptions } from './tether-listener.ts';

export interface TetherPlace {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** The host that codes name. Undefined: no phone can reach this address now, and no code is shown. */
  readonly publicHost: string | undefined;
}

export class ServedAddresses {
  /** By host and port as requested. */
  private readonly listeners = new Map<string, TetherListener>();
  private current: TetherListener | undefined;
  /** The machine's addresses; undefined: not known, so all are taken to exist. */
  private existing: ReadonlySet<string> | undefined;
  private closed = false;

  constructor(private readonly options: TetherListenerOptions) {}

  /** Where codes lead; undefined: nowhere. */
  get address(): HostPort | undefined {
    const { publicHost, port = 0 } = this.current ?? {};
    return publicHost === undefined ? undefined : { host: publicHost, port };
  }

  /** True if codes now lead to another address. @throws WstunError cannot-listen: nothing has changed */
  async serve(place: TetherPlace): Promise<boolean> {
    const key = formatHostPort(place);
    const listener = this.listeners.get(key) ?? (await TetherListener.open(place, this.options));
    this.listeners.set(key, listener);
    if (this.closed) {
      listener.close();
      return false;
    }
    const before = this.address && formatHostPort(this.address);
    if (this.current !== undefined) this.current.publicHost = undefined;
    this.current = listener;
    listener.publicHost = place.publicHost;
    this.closeUnused();
    const { address } = this;
    return address !== undefined && formatHostPort(address) !== before;
  }

  setExisting(addresses: ReadonlySet<string>): void {
    this.existing = addresses;
    this.closeUnused();
  }

  /** A control link that came in at this listener has ended. */
  leave(listener: TetherListener): void {
    listener.users -= 1;
    if (!this.closed) this.closeUnused();
  }

  close(): void {
    this.closed = true;
    for (const listener of this.listeners.values()) listener.close();
  }

  /** The page is served only where it is needed, and not on other networks. */
  private closeUnused(): void {
    for (const [key, listener] of this.listeners) {
      const mayReturn = listener.hasPaired && (this.existing?.has(listener.host) ?? true);
      if (listener === this.current || listener.users > 0 || mayReturn) continue;
      this.listeners.delete(key);
      listener.close();
    }
  }
}
