/**
 * What a client takes up of the relays that its exit tells (docs/protocol.md §6.1): checks it, since it is no more than
 * a hint, and says when it changes something. Only URLs and pins change; the keys are those of the invite.
 */
import type { Clock, Timer } from '../clock.ts';
import type { Invite } from '../crypto/invite.ts';
import { parseRelayUrl } from '../crypto/relay-url.ts';
import type { ToldRelays } from '../tunnel/session/tunnel-client.ts';

/** As many as an invite holds. */
const MAX_PINS = 8;
/** Of an exit that tells of changes all the time, only the latest counts, so often, ms: each may be a write. */
const SPACING_MS = 10_000;

/** The relays of a client from now on. */
export interface LearntRelays {
  /** 1 to 8, best first. */
  readonly relayUrls: readonly string[];
  /** 0 to 8. */
  readonly tlsPins: readonly Uint8Array[];
}

export interface RelayLearningOptions {
  readonly clock: Clock;
  /** Puts the list in the place of the one before. Returns all that there are then. */
  use(urls: readonly string[]): readonly string[];
  /** Before `use`: links by these URLs may need them. */
  usePins(pins: readonly Uint8Array[]): void;
  /** The relays, or the pins, are others than before. */
  onLearnt(learnt: LearntRelays): void;
}

export class RelayLearning {
  private before: LearntRelays;
  private next: ToldRelays | undefined;
  private notBefore = Number.NEGATIVE_INFINITY;
  private timer: Timer | undefined;

  constructor(
    private readonly own: Pick<Invite, 'relayUrls' | 'tlsPins'>,
    private readonly options: RelayLearningOptions,
  ) {
    this.before = { relayUrls: own.relayUrls, tlsPins: own.tlsPins ?? [] };
  }

  handle(told: ToldRelays): void {
    const { clock } = this.options;
    this.next = checkedRelays(told, this.own);
    if (this.next === undefined || this.timer !== undefined) return;
    this.timer = clock.setTimeout(() => this.takeUp(), Math.max(0, this.notBefore - clock.now()));
    this.timer.unref();
  }

  stop(): void {
    this.options.clock.clearTimeout(this.timer);
    this.next = undefined;
  }

  private takeUp(): void {
    const { clock, use, usePins, onLearnt } = this.options;
    const { next } = this;
    this.timer = undefined;
    this.next = undefined;
    if (next === undefined) return;
    this.notBefore = clock.now() + SPACING_MS;
    const tlsPins = mergedPins(next.pins, this.own.tlsPins ?? []);
    usePins(tlsPins);
    const learnt = { relayUrls: use(next.urls), tlsPins };
    if (isSame(learnt, this.before)) return;
    this.before = learnt;
    onLearnt(learnt);
  }
}

/**
 * Undefined where it must be ignored. A list must not take TLS away from a client whose invite has no URL without it:
 * unsealed records, or a demanded key, may depend on that.
 */
export function checkedRelays(told: ToldRelays, own: Pick<Invite, 'relayUrls'>): ToldRelays | undefined {
  if (!told.urls.every(isRelayUrl)) return undefined;
  const needsTls = own.relayUrls.every((url) => url.startsWith('wss:'));
  const urls = needsTls ? told.urls.filter((url) => url.startsWith('wss:')) : told.urls;
  return urls.length === 0 ? undefined : { urls, pins: told.pins };
}

function isRelayUrl(url: string): boolean {
  try {
    return parseRelayUrl(url) === url;
  } catch {
    return false;
  }
}

function mergedPins(told: readonly Uint8Array[], own: readonly Uint8Array[]): readonly Uint8Array[] {
  const all = [...told, ...own];
  return all.filter((pin, at) => all.findIndex((other) => isEqual(other, pin)) === at).slice(0, MAX_PINS);
}

function isSame(one: LearntRelays, other: LearntRelays): boolean {
  const sameUrls =
    one.relayUrls.length === other.relayUrls.length && one.relayUrls.every((url, at) => url === other.relayUrls[at]);
  const sorted = ({ tlsPins }: LearntRelays) => tlsPins.map((pin) => Buffer.from(pin).toString('hex')).toSorted();
  return sameUrls && sorted(one).join() === sorted(other).join();
}

function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.from(one).equals(other);
}
