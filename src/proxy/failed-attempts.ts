/**
 * Who guesses at the proxy's password, and how long he has to wait. Pure, time is passed in.
 *
 * Only guesses that differ count: a program that goes on with an old password guesses once, and locks nobody out.
 */
import { parseSocketAddress, sourceOfIp } from '../net/address-source.ts';

/** A person who types, and the old passwords of some programs. */
const FREE_GUESSES = 10;
const FIRST_WAIT_MS = 1_000;
const MAX_WAIT_MS = 60_000;
/** After the wait, without another guess. */
const FORGET_MS = 10 * 60_000;
/** A local network has fewer; who makes addresses up pushes out his own. */
const MAX_SOURCES = 256;

interface Guesser {
  /** The last ones, as digests. */
  readonly recent: Set<string>;
  guesses: number;
  waitMs: number;
  until: number;
}

/** Times are milliseconds of any clock that does not run backwards. */
export class FailedAttemptLimiter {
  /** By source, the one that guessed longest ago first. */
  private readonly guessers = new Map<string, Guesser>();
  private readonly onBarred: (address: string, waitMs: number) => void;

  constructor(onBarred: (address: string, waitMs: number) => void = () => {}) {
    this.onBarred = onBarred;
  }

  /** Whether nothing that comes from there is looked at now. */
  isBarred(address: string, now: number): boolean {
    return now < (this.guessers.get(sourceOf(address))?.until ?? now);
  }

  /** What came from there was wrong. @param guess a digest of it */
  noteWrong(address: string, guess: string, now: number): void {
    const source = sourceOf(address);
    const before = this.guessers.get(source);
    const isFresh = before !== undefined && now < before.until + FORGET_MS;
    const guesser = isFresh ? before : { recent: new Set<string>(), guesses: 0, waitMs: 0, until: now };
    if (!guesser.recent.has(guess)) this.count(guesser, guess, address, now);
    this.guessers.delete(source);
    this.guessers.set(source, guesser);
    const [oldest] = this.guessers.keys();
    if (this.guessers.size > MAX_SOURCES && oldest !== undefined) this.guessers.delete(oldest);
  }

  /** What came from there was right. */
  noteRight(address: string): void {
    this.guessers.delete(sourceOf(address));
  }

  private count(guesser: Guesser, guess: string, address: string, now: number): void {
    const [oldest] = guesser.recent;
    if (guesser.recent.size >= FREE_GUESSES && oldest !== undefined) guesser.recent.delete(oldest);
    guesser.recent.add(guess);
    guesser.guesses++;
    guesser.until = now;
    if (guesser.guesses <= FREE_GUESSES) return;
    guesser.waitMs = Math.min(MAX_WAIT_MS, Math.max(FIRST_WAIT_MS, guesser.waitMs * 2));
    guesser.until = now + guesser.waitMs;
    this.onBarred(address, guesser.waitMs);
  }
}

function sourceOf(address: string): string {
  const ip = parseSocketAddress(address);
  return ip === undefined ? address : sourceOfIp(ip);
}
