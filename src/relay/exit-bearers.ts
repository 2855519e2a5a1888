/**
 * The gate keys that exits announce: who may have a link to which exit. A new key costs the relay 0.6 ms of public-key work, so
 * long lists are taken over in slices with pauses, and an exit that keeps announcing slows nobody else down.
 */
import type { Bearer, TicketOpener } from '../crypto/ticket.ts';

/** 5 ms of work at a time, then a pause: a fifth of a core at most. 10,000 keys take 31 s, a dozen no time at all. */
const SLICE_KEYS = 8;
const PAUSE_MS = 20;
/** Of all exits together; 0.8 KB each. */
const MAX_KEYS = 20_000;

interface Announced {
  /** By the key's text. */
  readonly bearers: Map<string, Bearer>;
  /** Not taken over yet, the next at the end. */
  todo: string[];
  onDone: () => void;
}

export class ExitBearers {
  readonly #tickets: Pick<TicketOpener, 'add' | 'remove'>;
  readonly #maxKeys: number;
  readonly #exits = new Map<string, Announced>();
  #pause: NodeJS.Timeout | undefined;
  #count = 0;

  constructor(tickets: Pick<TicketOpener, 'add' | 'remove'>, maxKeys = MAX_KEYS) {
    this.#tickets = tickets;
    this.#maxKeys = maxKeys;
  }

  /** Those whose keys are known. */
  get exits(): Iterable<string> {
    return this.#exits.keys();
  }

  /**
   * Replaces the keys of an exit; those that are missing are locked out at once. `onDone` is called when all are known, unless
   * another list comes first. Keys beyond the limit for all exits stay out.
   * @param keys base64url, 32 bytes each
   */
  replace(exit: string, keys: readonly string[], onDone: () => void): void {
    const announced = this.#announcedBy(exit);
    const wanted = new Set(keys);
    for (const key of announced.bearers.keys()) if (!wanted.has(key)) this.#remove(announced, key);
    announced.todo = [...wanted].filter((key) => !announced.bearers.has(key)).reverse();
    announced.onDone = onDone;
    if (this.#pause === undefined) this.#takeSlice();
  }

  /** All at once, however long it takes: for a relay that starts, and serves nobody yet. */
  restore(exit: string, keys: readonly string[]): void {
    const announced = this.#announcedBy(exit);
    for (const key of keys) if (!announced.bearers.has(key)) this.#add(exit, announced, key);
  }

  /** The exit may not register any more: nobody needs a link to it. */
  drop(exit: string): void {
    const announced = this.#exits.get(exit);
    if (announced === undefined) return;
    for (const key of announced.bearers.keys()) this.#remove(announced, key);
    this.#exits.delete(exit);
  }

  close(): void {
    clearTimeout(this.#pause);
    this.#exits.clear();
  }

  #announcedBy(exit: string): Announced {
    const announced = this.#exits.get(exit) ?? { bearers: new Map<string, Bearer>(), todo: [], onDone: () => {} };
    this.#exits.set(exit, announced);
    return announced;
  }

  #remove(announced: Announced, key: string): void {
    const bearer = announced.bearers.get(key);
    if (bearer === undefined) return;
    announced.bearers.delete(key);
    this.#tickets.remove(bearer);
    this.#count -= 1;
  }

  #takeSlice(): void {
    let left = SLICE_KEYS;
    for (const [exit, announced] of this.#exits) left -= this.#takeOver(exit, announced, left);
    // After the last slice too: it is the pause that bounds what one that announces again and again can cost.
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      if ([...this.#exits.values()].some(({ todo }) => todo.length > 0)) this.#takeSlice();
    }, PAUSE_MS).unref();
  }

  /** At most `most` keys; returns how many. */
  #takeOver(exit: string, announced: Announced, most: number): number {
    let taken = 0;
    for (; taken < most && announced.todo.length > 0; taken++) this.#add(exit, announced, announced.todo.pop() ?? '');
    if (announced.todo.length > 0) return taken;
    const { onDone } = announced;
    announced.onDone = () => {};
    onDone();
    return taken;
  }

  #add(exit: string, { bearers }: Announced, key: string): void {
    if (this.#count >= this.#maxKeys) return;
    const name = `${exit}/${bearers.size + 1}`;
    const bearer: Bearer = { name, gateKey: Buffer.from(key, 'base64url'), role: 'client', destination: exit };
    bearers.set(key, bearer);
    this.#tickets.add(bearer);
    this.#count += 1;
  }
}
