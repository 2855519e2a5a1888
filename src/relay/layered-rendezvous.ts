/**
 * Workers of a machine that is one of several: an exit is looked for at the other workers first, then at the other
 * machines. All workers have one URL, so an exit that is called from elsewhere may come to any of them.
 */
import type { MessageLink } from '../transport/message-link.ts';
import type { CallOutcome, Rendezvous, RendezvousHandler } from './rendezvous.ts';

export class LayeredRendezvous implements Rendezvous {
  readonly hasOthers = true;

  constructor(
    private readonly workers: Rendezvous,
    private readonly machines: Rendezvous,
  ) {}

  get tokenPrefix(): string {
    return this.workers.tokenPrefix;
  }

  setHandler(handler: RendezvousHandler): void {
    this.workers.setHandler(handler);
    this.machines.setHandler(handler);
  }

  announce(exit: string): () => void {
    const withdrawals = [this.workers.announce(exit), this.machines.announce(exit)];
    return () => {
      for (const withdraw of withdrawals) withdraw();
    };
  }

  isElsewhere(exit: string): boolean {
    return this.workers.isElsewhere(exit) || this.machines.isElsewhere(exit);
  }

  shareKeys(exit: string, keys: readonly string[]): void {
    this.workers.shareKeys(exit, keys);
    this.machines.shareKeys(exit, keys);
  }

  repeatKeys(): void {
    this.workers.repeatKeys();
    this.machines.repeatKeys();
  }

  async call(exit: string, token: string): Promise<CallOutcome> {
    const outcome = await this.workers.call(exit, token);
    return outcome === 'absent' ? this.machines.call(exit, token) : outcome;
  }

  noteUnreached(exit: string, token: string): void {
    this.machines.noteUnreached(exit, token);
  }

  isOthers(token: string): boolean {
    return this.workers.isOthers(token);
  }

  passAnswer(exit: string, token: string, link: MessageLink): void {
    this.workers.passAnswer(exit, token, link);
  }
}
