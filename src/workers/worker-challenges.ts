/** A worker's part of the challenges of all (`SharedChallenges`): those of others, and the word of its own to them. */
import type { ChallengePair, SharedChallenges } from '../relay/shared-challenges.ts';
import { ANSWER_LIMIT_MS, type Channel } from './channel.ts';
import type { Questions, WorkerId } from './messages.ts';

/** The hub waits for each of the other workers. */
const OPEN_LIMIT_MS = ANSWER_LIMIT_MS + 2_000;

export class WorkerChallenges implements SharedChallenges {
  readonly isOurs: boolean;
  /** For a handler that comes later. */
  private readonly opened = new Map<string, ChallengePair>();
  private handle: ((name: string, pair: ChallengePair | undefined) => void) | undefined;

  constructor(
    id: WorkerId,
    private readonly channel: Channel,
  ) {
    // Of the worker that starts first. Its replacement has the same slot, and goes on.
    this.isOurs = id.startsWith('00');
  }

  async open(name: string, pair: ChallengePair): Promise<() => void> {
    // Without an answer the order goes on all the same: the authority may come to a worker that knows.
    await this.channel.ask('challenge', { name, pair }, OPEN_LIMIT_MS);
    return () => this.channel.note({ note: 'challenge-over', name });
  }

  setHandler(handle: (name: string, pair: ChallengePair | undefined) => void): void {
    this.handle = handle;
    for (const [name, pair] of this.opened) handle(name, pair);
  }

  /** Another worker has opened one. */
  take({ name, pair }: Questions['challenge']['ask']): true {
    this.opened.set(name, pair);
    this.handle?.(name, pair);
    return true;
  }

  handleOver(name: string): void {
    this.opened.delete(name);
    this.handle?.(name, undefined);
  }
}
