/** UDP associations without a session: the test sees what was sent, and answers. */
import { type FaultName, WstunError } from '../../../src/errors.ts';
import type { Association, AssociationHandler } from '../../../src/tunnel/stream/services.ts';
import type { Target } from '../../../src/tunnel/stream/stream.ts';

export class FakeAssociation implements Association {
  readonly sent: { readonly text: string; readonly to: Target | undefined }[] = [];
  isClosed = false;

  constructor(
    readonly target: Target | undefined,
    private readonly handler: AssociationHandler,
    private readonly onSend: (bytes: Uint8Array, to: Target | undefined) => void,
  ) {}

  send(bytes: Uint8Array, to?: Target): void {
    this.sent.push({ text: Buffer.from(bytes).toString('latin1'), to });
    this.onSend(bytes, to);
  }

  close(): void {
    this.isClosed = true;
  }

  answer(data: string | Uint8Array, from?: Target): void {
    this.handler.handleDatagram(typeof data === 'string' ? Buffer.from(data, 'latin1') : data, from);
  }

  end(fault?: FaultName): void {
    this.handler.handleEnd(fault === undefined ? undefined : new WstunError(fault));
  }
}

export class FakeAssociations {
  /** In the order in which they were opened. */
  readonly associations: FakeAssociation[] = [];
  /** With what every attempt to open one fails from now on. */
  associationFault: FaultName | undefined;
  attempts = 0;
  lacksUdp = false;
  /** True: each datagram comes back from whom it went to. */
  echoes = false;

  openAssociation(target: Target | undefined, handler: AssociationHandler): Association {
    this.attempts++;
    if (this.associationFault !== undefined) throw new WstunError(this.associationFault);
    const association: FakeAssociation = new FakeAssociation(target, handler, (bytes, to) => {
      if (this.echoes) association.answer(bytes, to);
    });
    this.associations.push(association);
    return association;
  }
}
