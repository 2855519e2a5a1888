/** One control link to the laptop: the pairing, then sealed messages (docs/tether-protocol.md). */
import { decodeLaptopMessage, encodeMessage, type LaptopMessage, type PageMessage } from '../shared/messages.ts';
import { beginPairing, MESSAGE, type PagePairing, type PairingKeys, Seal } from '../shared/pairing.ts';
import type { PageClock, PageTimer } from './page-clock.ts';

/** For upgrade and pairing on a local network. With the wait that follows, less than the 3 s to reconnect. */
const PAIRING_LIMIT_MS = 2_500;
/** Ten of the laptop's pings. */
const SILENCE_LIMIT_MS = 5_000;

export interface ControlEvents {
  onPaired(rejoin: Uint8Array): void;
  onMessage(message: LaptopMessage): void;
  /** The laptop has sent a ping. */
  onPing(): void;
  /** The last call. `refused`: the secret is not valid. */
  onEnd(refused: boolean): void;
}

export class Control {
  private readonly socket: WebSocket;
  private readonly pairing: PagePairing;
  private seals: { readonly incoming: Seal; readonly outgoing: Seal } | undefined;
  private proved = false;
  private ended = false;
  private limit: PageTimer;

  constructor(
    secret: Uint8Array,
    private readonly events: ControlEvents,
    private readonly clock: PageClock,
  ) {
    this.pairing = beginPairing(secret, location.host);
    this.socket = new WebSocket(`ws://${location.host}/control`);
    this.socket.binaryType = 'arraybuffer';
    this.socket.onopen = () => this.sendBytes(this.pairing.hello);
    this.socket.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => this.receive(data);
    this.socket.onclose = () => this.end();
    this.limit = clock.setTimeout(() => this.end(), PAIRING_LIMIT_MS);
  }

  send(message: PageMessage): void {
    if (this.seals === undefined || this.ended) return;
    this.sendBytes(this.seals.outgoing.seal(encodeMessage(message)));
  }

  private receive(data: ArrayBuffer | string): void {
    const message = typeof data === 'string' ? new Uint8Array(0) : new Uint8Array(data);
    if (this.seals !== undefined) return this.receiveSealed(this.seals.incoming, message);
    if (message[0] === MESSAGE.refusal) return this.end(true);
    if (this.proved) return this.finish(this.pairing.finish(message));
    const proof = this.pairing.prove(message);
    if (proof === undefined) return this.end();
    this.proved = true;
    this.sendBytes(proof);
  }

  /** None of these bytes are in shared memory; the type cannot express that. */
  private sendBytes(bytes: Uint8Array): void {
    this.socket.send(bytes as Uint8Array<ArrayBuffer>);
  }

  private finish(keys: PairingKeys | undefined): void {
    // The other end is not the laptop that made the code.
    if (keys === undefined) return this.end(true);
    this.seals = { incoming: new Seal(keys.laptopSeal), outgoing: new Seal(keys.pageSeal) };
    this.send({ type: 'joined', time: this.clock.wallTime() });
    this.restartLimit();
    this.events.onPaired(keys.rejoin);
  }

  private receiveSealed(incoming: Seal, sealed: Uint8Array): void {
    const content = incoming.open(sealed);
    const message = content && decodeLaptopMessage(content);
    if (message === undefined) return this.end();
    this.restartLimit();
    if (message.type !== 'ping') return this.events.onMessage(message);
    this.send({ type: 'pong' });
    this.events.onPing();
  }

  private restartLimit(): void {
    this.clock.clearTimeout(this.limit);
    this.limit = this.clock.setTimeout(() => this.end(), SILENCE_LIMIT_MS);
  }

  end(refused = false): void {
    if (this.ended) return;
    this.ended = true;
    this.clock.clearTimeout(this.limit);
    this.socket.onmessage = null;
    this.socket.onclose = null;
    this.socket.onopen = null;
    this.socket.close();
    this.events.onEnd(refused);
  }
}
