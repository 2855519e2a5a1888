/**
 * The gate keys that exits announce: who may have a link to which exit. A new key costs the relay 0.07 ms of public-key
 * work, so long lists are taken up in slices with pauses, in which the exits that wait take turns key by key: one that
 * keeps announcing slows nobody else down. What all exits may announce together is shared out, max-min fair: who wants
 * less than an equal share gets it all.
 */
import type { Peer, TicketOpener } from '../crypto/ticket.ts';

/**
 * 5 ms of work at a time, then a pause: a fifth of a core at most. 10,000 keys take 4 s, a few dozen no time at all.
 */
const SLICE_KEYS = 64;
const PAUSE_MS = 20;
/** A key that goes costs a quarter of one that comes. So many go at once, and more in turns as those that come. */
const REMOVED_AT_ONCE = 256;
const REMOVED_A_TURN = 4;
/** Of all exits together; 1 KB each. */
const MAX_KEYS = 20_000;

export interface TakeUp {
  /** All keys of the latest list are known. Again for each list, and when an end was put to `handleShort`. */
  handleDone(): void;
  /**
   * There is no room for more: `taken` of the `wanted` keys are known, the others follow when there is. Told when it
   * changes.
   */
  handleShort(taken: number, wanted: number): void;
}

class Announced {
  readonly exit: string;
  /** By the key's text. */
  readonly peers = new Map<string, Peer>();
  /** Their keys, the newest at the end; some may be gone. */
  taken: string[] = [];
  /** As announced last, to know it again. */
  list: readonly string[] = [];
  /** Not announced any more, and still known. */
  leaving: string[] = [];
  /** Not taken up yet, the next at the end. */
  todo: string[] = [];
  /** Given up for exits with fewer keys; taken up again after `todo`. */
  givenUp: string[] = [];
  takeUp: TakeUp | undefined;
  /** How many were known when `handleShort` was told; undefined where nothing is missing, as far as was told. */
  toldShort: number | undefined;
  /** For names in logs, none of them twice. */
  numbered = 0;
  isQueued = false;

  constructor(exit: string) {
    this.exit = exit;
  }

  get isSettled(): boolean {
    return this.missing === 0 && this.leaving.length === 0;
  }

  get missing(): number {
    return this.todo.length + this.givenUp.length;
  }

  next(): string | undefined {
    return this.todo.pop() ?? this.givenUp.pop();
  }

  /** The key that was taken up last. */
  newest(): string | undefined {
    let key = this.taken.pop();
    while (key !== undefined && !this.peers.has(key)) key = this.taken.pop();
    return key;
  }
}

export class ExitPeers {
  private readonly tickets: Pick<TicketOpener, 'add' | 'remove'>;
  private readonly maxKeys: number;
  private readonly byName = new Map<string, Announced>();
  /** Those for whose next key there may be room, in turn. */
  private queue: Announced[] = [];
  private pause: NodeJS.Timeout | undefined;
  /** While a relay starts: no pauses. */
  private eager: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;
  private count = 0;

  constructor(tickets: Pick<TicketOpener, 'add' | 'remove'>, maxKeys = MAX_KEYS) {
    this.tickets = tickets;
    this.maxKeys = maxKeys;
  }

  /** Those whose keys are known. */
  get exits(): Iterable<string> {
    return this.byName.keys();
  }

  /**
   * Replaces the keys of an exit; those that are missing are locked out at once, of thousands the last within a second.
   * The same list again costs a comparison. False: it was that.
   * @param keys base64url, 32 bytes each
   */
  replace(exit: string, keys: readonly string[], takeUp: TakeUp): boolean {
    const announced = this.announcedBy(exit);
    announced.takeUp = takeUp;
    announced.toldShort = undefined;
    const isNew = !areSame(announced.list, keys);
    if (isNew) this.setList(announced, keys);
    if (announced.missing === 0) takeUp.handleDone();
    this.enqueue(announced);
    if (this.pause === undefined && this.eager === undefined) this.takeSlice();
    return isNew;
  }

  /** What an exit announced before a restart, in slices without pauses: `restored` says when. */
  restore(exit: string, keys: readonly string[]): void {
    const announced = this.announcedBy(exit);
    this.setList(announced, keys);
    this.enqueue(announced);
    if (this.eager !== undefined || announced.missing === 0) return;
    let resolve = (): void => {};
    const promise = new Promise<void>((done) => {
      resolve = done;
    });
    this.eager = { promise, resolve };
    setImmediate(() => this.takeEagerly());
  }

  /** Resolves when all is known that there is room for. */
  async restored(): Promise<void> {
    await this.eager?.promise;
  }

  /** The exit may not register any more: nobody needs a link to it. */
  drop(exit: string): void {
    const announced = this.byName.get(exit);
    if (announced === undefined) return;
    this.byName.delete(exit);
    for (const key of announced.peers.keys()) this.remove(announced, key);
    for (const other of this.byName.values()) this.enqueue(other);
    if (this.pause === undefined && this.eager === undefined) this.takeSlice();
  }

  close(): void {
    clearTimeout(this.pause);
    this.byName.clear();
    this.queue = [];
    this.eager?.resolve();
  }

  private announcedBy(exit: string): Announced {
    const announced = this.byName.get(exit) ?? new Announced(exit);
    this.byName.set(exit, announced);
    return announced;
  }

  private setList(announced: Announced, keys: readonly string[]): void {
    const wanted = new Set(keys);
    const gone = [...announced.peers.keys()].filter((key) => !wanted.has(key));
    announced.leaving = gone.slice(REMOVED_AT_ONCE);
    for (const key of gone.slice(0, REMOVED_AT_ONCE)) this.remove(announced, key);
    announced.list = keys;
    announced.todo = [...wanted].filter((key) => !announced.peers.has(key)).reverse();
    announced.givenUp = [];
    announced.taken = [...announced.peers.keys()].filter((key) => wanted.has(key));
    // There is room again for those who had to wait for some.
    if (gone.length > 0) for (const other of this.byName.values()) this.enqueue(other);
  }

  private enqueue(announced: Announced): void {
    if (announced.isQueued || announced.isSettled) return;
    announced.isQueued = true;
    this.queue.push(announced);
  }

  private takeEagerly(): void {
    this.takeKeys();
    if (this.queue.length > 0) {
      setImmediate(() => this.takeEagerly());
      return;
    }
    this.tellShort();
    this.eager?.resolve();
    this.eager = undefined;
  }

  private takeSlice(): void {
    this.takeKeys();
    if (this.queue.length === 0) this.tellShort();
    // After the last slice too: it is the pause that bounds what one that announces again and again can cost.
    this.pause = setTimeout(() => {
      this.pause = undefined;
      if (this.queue.length > 0) this.takeSlice();
    }, PAUSE_MS).unref();
  }

  /**
   * One key of each that waits, again and again; whoever has had one goes to the end of the queue, also for the next
   * slice.
   */
  private takeKeys(): void {
    for (let taken = 0; taken < SLICE_KEYS; ) {
      const announced = this.queue.shift();
      if (announced === undefined) return;
      announced.isQueued = false;
      if (this.byName.get(announced.exit) !== announced) continue;
      if (announced.leaving.length > 0) this.takeLeave(announced);
      // Without room it waits until somebody needs less.
      else if (announced.missing === 0 || !this.takeNext(announced)) continue;
      taken += 1;
      this.enqueue(announced);
    }
  }

  private takeLeave(announced: Announced): void {
    for (const key of announced.leaving.splice(-REMOVED_A_TURN)) this.remove(announced, key);
    if (announced.leaving.length > 0) return;
    for (const other of this.byName.values()) this.enqueue(other);
  }

  /** False: there is no room. */
  private takeNext(announced: Announced): boolean {
    if (!this.makeRoom(announced)) return false;
    this.add(announced, announced.next() ?? '');
    if (announced.missing === 0) this.tellDone(announced);
    return true;
  }

  /**
   * Where all is taken, the exit with the most keys gives up its newest, unless it has hardly more than the one that
   * asks.
   */
  private makeRoom({ peers }: Announced): boolean {
    if (this.count < this.maxKeys) return true;
    let most: Announced | undefined;
    for (const other of this.byName.values())
      if (most === undefined || other.peers.size > most.peers.size) most = other;
    if (most === undefined || most.peers.size <= peers.size + 1) return false;
    if (most.leaving.length > 0) {
      this.takeLeave(most);
      return true;
    }
    const newest = most.newest();
    if (newest === undefined) return false;
    this.remove(most, newest);
    most.givenUp.push(newest);
    return true;
  }

  private tellDone(announced: Announced): void {
    announced.toldShort = undefined;
    announced.takeUp?.handleDone();
  }

  /** Nothing more can be taken up now. */
  private tellShort(): void {
    for (const announced of this.byName.values()) {
      const { peers, missing, toldShort, takeUp } = announced;
      if (missing === 0 || toldShort === peers.size) continue;
      announced.toldShort = peers.size;
      takeUp?.handleShort(peers.size, peers.size + missing);
    }
  }

  private remove({ peers }: Announced, key: string): void {
    const peer = peers.get(key);
    if (peer === undefined) return;
    peers.delete(key);
    this.tickets.remove(peer);
    this.count -= 1;
  }

  private add(announced: Announced, key: string): void {
    const { exit, peers } = announced;
    announced.numbered += 1;
    const name = `${exit}/${announced.numbered}`;
    const peer: Peer = { name, gateKey: Buffer.from(key, 'base64url'), role: 'client', destination: exit };
    peers.set(key, peer);
    announced.taken.push(key);
    this.tickets.add(peer);
    this.count += 1;
  }
}

function areSame(before: readonly string[], now: readonly string[]): boolean {
  return before.length === now.length && before.every((key, i) => key === now[i]);
}
