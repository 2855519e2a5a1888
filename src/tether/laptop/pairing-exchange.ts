/** The laptop's side of a pairing on one control link. The owner says whose a secret is, and if it is still valid. */
import type { Clock, Timer } from '../../clock.ts';
import type { Message, MessageLink, MessageLinkHandler } from '../../transport/message-link.ts';
import {
  answerPairing,
  HELLO_BYTES,
  type LaptopPairing,
  MESSAGE,
  type PairingKeys,
  readHello,
} from '../shared/pairing.ts';
import { PAIRING_LIMIT_MS } from './tether-limits.ts';

export interface PairingOwner {
  /** The `Host` of the upgrade. */
  readonly host: string;
  readonly clock: Clock;
  find(id: Uint8Array): Uint8Array | undefined;
  /** It has the secret. Undefined: it has expired or was used. Else sets the next handler, after our proof is sent. */
  claim(secret: Uint8Array, keys: PairingKeys): (() => void) | undefined;
  /** `isAttempt`: it had no valid secret, or sent nothing in time; not a valid phone that loses its network. */
  onFailed(isAttempt: boolean): void;
}

export class PairingExchange implements MessageLinkHandler {
  private readonly limit: Timer;
  private secret: Uint8Array | undefined;
  private pairing: LaptopPairing | undefined;
  private over = false;

  /** Takes the link's handler. */
  constructor(
    private readonly link: MessageLink,
    private readonly owner: PairingOwner,
  ) {
    this.limit = owner.clock.setTimeout(() => this.fail(this.pairing === undefined), PAIRING_LIMIT_MS);
    link.setHandler(this);
  }

  handleMessage(pieces: Message): void {
    if (this.over) return;
    const bytes = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
    if (bytes > HELLO_BYTES) return this.refuse();
    const message = Uint8Array.from(Buffer.concat(pieces));
    if (this.pairing === undefined) this.handleHello(message);
    else this.handleProof(this.pairing, message);
  }

  handleDrain(): void {}

  handleClose(): void {
    this.fail(false);
  }

  private handleHello(message: Uint8Array): void {
    const hello = readHello(message);
    if (hello === undefined) return this.refuse();
    this.secret = this.owner.find(hello.id);
    // Also for an unknown identifier: a page learns only after its proof whether its secret is valid.
    this.pairing = answerPairing(message, this.secret, this.owner.host);
    this.link.send([this.pairing.answer]);
  }

  private handleProof(pairing: LaptopPairing, message: Uint8Array): void {
    const checked = pairing.check(message);
    const handOver = this.secret && checked && this.owner.claim(this.secret, checked.keys);
    if (handOver === undefined || checked === undefined) return this.refuse();
    this.end();
    this.link.send([checked.proof]);
    handOver();
  }

  private refuse(): void {
    this.end();
    this.link.send([Uint8Array.of(MESSAGE.refusal)]);
    this.link.close();
    this.owner.onFailed(true);
  }

  private fail(wasSilent: boolean): void {
    if (this.over) return;
    this.end();
    this.link.abort();
    // An answer without a proof costs as much work as a refusal.
    const hadNoSecret = this.pairing !== undefined && this.secret === undefined;
    this.owner.onFailed(wasSilent || hadNoSecret);
  }

  private end(): void {
    this.over = true;
    this.owner.clock.clearTimeout(this.limit);
  }
}
