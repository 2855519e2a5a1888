/**
 * The gate keys that exits announce: who may have a link to which exit. A new key costs the relay 0.07 ms of public-key
 * work. So long lists are taken up in slices with pauses, in which the exits take turns key by key: one that keeps
 * announcing slows down no other. The room for all keys is shared max-min fair: an exit that wants less than an equal
 * share gets all it wants.
 */
import { type Clock, systemClock, type Timer } from '../clock.ts';
import type { Peer, TicketOpener } from '../crypto/ticket.ts';

/** 5 ms of work at a time, then a pause: a fifth of a core at most. 10,000 keys take 4 s; a few dozen need no pause. */
const SLICE_KEYS = 64;
const PAUSE_MS = 20;
/** Removing a key costs a quarter of adding one. So many are removed at once, the others in turns. */
const REMOVED_AT_ONCE = 256;
const REMOVED_PER_TURN = 4;
/** Of all exits together; 1 KB each. */
const MAX_KEYS = 20_000;

export interface AnnouncedHandler {
  /** All keys of the latest list are known. Called for each list, and when there is room again after `handleShort`. */
  handleDone(): void;
  /** There is room only for `taken` of the `wanted` keys so far. Called when it changes. */
  handleShort(taken: number, wanted: number): void;
}

/** The keys of one exit. */
class AnnouncedKeys {
  /** By the key's text. */
  readonly peers = new Map<string, Peer>();
  /** Their keys, the newest at the end; some may have been removed. */
  added: string[] = [];
  /** As announced last, to recognise it. */
  list: readonly string[] = [];
  /** Not announced any more, and still known. */
  toRemove: string[] = [];
  /** Not added yet, the next at the end. */
  toAdd: string[] = [];
  /** Removed in favour of exits with fewer keys; added again after `toAdd`. */
  displaced: string[] = [];
  handler: AnnouncedHandler | undefined;
  /** How many were known at the last `handleShort`; undefined if nothing was reported as missing. */
  reportedShort: number | undefined;
  /** For names in logs: each is used once. */
  lastNumber = 0;
  isQueued = false;

  constructor(readonly exit: string) {}

  get isSettled(): boolean {
    return this.missing === 0 && this.toRemove.length === 0;
  }

  get missing(): number {
    return this.toAdd.length + this.displaced.length;
  }

  next(): string | undefined {
    return this.toAdd.pop() ?? this.displaced.pop();
  }

  /** The key that was added last. */
  newest(): string | undefined {
    let key = this.added.pop();
    while (key !== undefined && !this.peers.has(key)) key = this.added.pop();
    return key;
  }
}

export class ExitPeers {
  private readonly maxKeys: number;
  private readonly clock: Clock;
  private readonly byName = new Map<string, AnnouncedKeys>();
  /** Exits for whose next key there may be room, in turn. */
  private queue: AnnouncedKeys[] = [];
  private pause: Timer | undefined;
  /** While keys are restored: no pauses. */
  private restoring: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;
  private count = 0;

  constructor(
    private readonly tickets: Pick<TicketOpener, 'add' | 'remove'>,
    { maxKeys = MAX_KEYS, clock = systemClock }: { readonly maxKeys?: number; readonly clock?: Clock } = {},
  ) {
    this.maxKeys = maxKeys;
    this.clock = clock;
  }

  /** Those with an announced list. */
  get exits(): Iterable<string> {
    return this.byName.keys();
  }

  /** Missing keys are locked out, the last of thousands within a second. False: it is the same list again. */
  replace(exit: string, keys: readonly string[], handler: AnnouncedHandler): boolean {
    const announced = this.announcedBy(exit);
    announced.handler = handler;
    announced.reportedShort = undefined;
    const isNew = !areSame(announced.list, keys);
    if (isNew) this.setList(announced, keys);
    if (announced.missing === 0) handler.handleDone();
    this.enqueue(announced);
    if (this.pause === undefined && this.restoring === undefined) this.runSlice();
    return isNew;
  }

  /** What an exit announced before a restart, in slices without pauses: `restored` says when. */
  restore(exit: string, keys: readonly string[]): void {
    const announced = this.announcedBy(exit);
    this.setList(announced, keys);
    this.enqueue(announced);
    if (this.restoring !== undefined || announced.missing === 0) return;
    let resolve = (): void => {};
    const promise = new Promise<void>((done) => {
      resolve = done;
    });
    this.restoring = { promise, resolve };
    setImmediate(() => this.restoreSlice());
  }

  /** Resolves when all keys are known that there is room for. */
  async restored(): Promise<void> {
    await this.restoring?.promise;
  }

  /** The exit may not register any more: no client may have a link to it. */
  drop(exit: string): void {
    const announced = this.byName.get(exit);
    if (announced === undefined) return;
    this.byName.delete(exit);
    for (const key of announced.peers.keys()) this.remove(announced, key);
    for (const other of this.byName.values()) this.enqueue(other);
    if (this.pause === undefined && this.restoring === undefined) this.runSlice();
  }

  close(): void {
    this.clock.clearTimeout(this.pause);
    this.byName.clear();
    this.queue = [];
    this.restoring?.resolve();
  }

  private announcedBy(exit: string): AnnouncedKeys {
    const announced = this.byName.get(exit) ?? new AnnouncedKeys(exit);
    this.byName.set(exit, announced);
    return announced;
  }

  private setList(announced: AnnouncedKeys, keys: readonly string[]): void {
    const wanted = new Set(keys);
    const gone = [...announced.peers.keys()].filter((key) => !wanted.has(key));
    announced.toRemove = gone.slice(REMOVED_AT_ONCE);
    for (const key of gone.slice(0, REMOVED_AT_ONCE)) this.remove(announced, key);
    announced.list = keys;
    announced.toAdd = [...wanted].filter((key) => !announced.peers.has(key)).reverse();
    announced.displaced = [];
    announced.added = [...announced.peers.keys()].filter((key) => wanted.has(key));
    // There is room again for exits that wait for it.
    if (gone.length > 0) for (const other of this.byName.values()) this.enqueue(other);
  }

  private enqueue(announced: AnnouncedKeys): void {
    if (announced.isQueued || announced.isSettled) return;
    announced.isQueued = true;
    this.queue.push(announced);
  }

  private restoreSlice(): void {
    this.moveKeys();
    if (this.queue.length > 0) {
      setImmediate(() => this.restoreSlice());
      return;
    }
    this.reportShort();
    this.restoring?.resolve();
    this.restoring = undefined;
  }

  private runSlice(): void {
    this.moveKeys();
    if (this.queue.length === 0) this.reportShort();
    // After the last slice too: the pause limits what an exit that announces again and again can cost.
    this.pause = this.clock.setTimeout(() => {
      this.pause = undefined;
      if (this.queue.length > 0) this.runSlice();
    }, PAUSE_MS);
    this.pause.unref();
  }

  /** Adds or removes keys in turns: an exit that had one goes to the end of the queue, also for the next slice. */
  private moveKeys(): void {
    for (let moved = 0; moved < SLICE_KEYS; ) {
      const announced = this.queue.shift();
      if (announced === undefined) return;
      announced.isQueued = false;
      if (this.byName.get(announced.exit) !== announced) continue;
      if (announced.toRemove.length > 0) this.removeSome(announced);
      // Without room it waits until another exit needs less.
      else if (announced.missing === 0 || !this.addNext(announced)) continue;
      moved += 1;
      this.enqueue(announced);
    }
  }

  private removeSome(announced: AnnouncedKeys): void {
    for (const key of announced.toRemove.splice(-REMOVED_PER_TURN)) this.remove(announced, key);
    if (announced.toRemove.length > 0) return;
    for (const other of this.byName.values()) this.enqueue(other);
  }

  /** False: there is no room. */
  private addNext(announced: AnnouncedKeys): boolean {
    if (!this.makeRoom(announced)) return false;
    this.add(announced, announced.next() ?? '');
    if (announced.missing === 0) this.reportDone(announced);
    return true;
  }

  /** If all room is taken, the exit with the most keys loses its newest, unless it has at most one more. */
  private makeRoom({ peers }: AnnouncedKeys): boolean {
    if (this.count < this.maxKeys) return true;
    let most: AnnouncedKeys | undefined;
    for (const other of this.byName.values())
      if (most === undefined || other.peers.size > most.peers.size) most = other;
    if (most === undefined || most.peers.size <= peers.size + 1) return false;
    if (most.toRemove.length > 0) {
      this.removeSome(most);
      return true;
    }
    const newest = most.newest();
    if (newest === undefined) return false;
    this.remove(most, newest);
    most.displaced.push(newest);
    return true;
  }

  private reportDone(announced: AnnouncedKeys): void {
    announced.reportedShort = undefined;
    announced.handler?.handleDone();
  }

  /** Nothing more can be added now. */
  private reportShort(): void {
    for (const announced of this.byName.values()) {
      const { peers, missing, reportedShort, handler } = announced;
      if (missing === 0 || reportedShort === peers.size) continue;
      announced.reportedShort = peers.size;
      handler?.handleShort(peers.size, peers.size + missing);
    }
  }

  private remove({ peers }: AnnouncedKeys, key: string): void {
    const peer = peers.get(key);
    if (peer === undefined) return;
    peers.delete(key);
    this.tickets.remove(peer);
    this.count -= 1;
  }

  private add(announced: AnnouncedKeys, key: string): void {
    const { exit, peers } = announced;
    announced.lastNumber += 1;
    const name = `${exit}/${announced.lastNumber}`;
    const peer: Peer = { name, gateKey: Buffer.from(key, 'base64url'), role: 'client', destination: exit };
    peers.set(key, peer);
    announced.added.push(key);
    this.tickets.add(peer);
    this.count += 1;
  }
}

function areSame(before: readonly string[], now: readonly string[]): boolean {
  return before.length === now.length && before.every((key, i) => key === now[i]);
}
