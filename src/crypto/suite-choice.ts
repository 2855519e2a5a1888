/**
 * Which cipher a client offers: the one with which its own machine is faster. The exit may be the slower end, but
 * either cipher is fast on a server, and a phone is seldom an exit. Pure except for one remembered result.
 */
import { randomBytes } from 'node:crypto';
import type { CipherSuite } from './aead.ts';
import { RecordSealer } from './record-cipher.ts';

/** Large enough that the cipher dominates and not the call; 1 ms at most if AES runs at only 20 MB/s. */
const SAMPLE_BYTES = 16_384;
/** The first warms up. */
const MIN_ROUNDS = 2;
/** On a fast machine the best is stable by then; with the warm-up they take 2 ms. */
const MAX_ROUNDS = 24;
/** Start-up waits so long, on a slow machine a round longer. */
const BUDGET_MS = 3;
/**
 * AES with hardware is faster by a third or more when warm, and slower by less than this when cold or on a busy
 * machine. AES without hardware is slower by far more, or leaks through caches (Noise §13).
 */
const COLD_HANDICAP = 1.15;

/** @param timeSample seals one sample and returns how long that took, ms */
export function chooseSuite(timeSample: (suite: CipherSuite) => number): CipherSuite {
  let bestChaChaPoly = Number.POSITIVE_INFINITY;
  let bestAesGcm = Number.POSITIVE_INFINITY;
  // In turns, so that a pause of the machine does not affect only one of the two. The best of each, because pauses only
  // add time; so the budget also counts the best: a busy machine gets as many rounds as an idle one.
  for (let round = 0; round < MIN_ROUNDS || round * (bestChaChaPoly + bestAesGcm) < BUDGET_MS; round++) {
    if (round === MAX_ROUNDS) break;
    bestChaChaPoly = Math.min(bestChaChaPoly, timeSample('ChaChaPoly'));
    bestAesGcm = Math.min(bestAesGcm, timeSample('AESGCM'));
  }
  return bestAesGcm < bestChaChaPoly * COLD_HANDICAP ? 'AESGCM' : 'ChaChaPoly';
}

let measured: CipherSuite | undefined;

/** Measures once per process, for 2 to 5 ms. @param now a clock that only rises, ms with fractions */
export function preferredSuite(now: () => number): CipherSuite {
  measured ??= measureSuite(now);
  return measured;
}

function measureSuite(now: () => number): CipherSuite {
  const key = randomBytes(32);
  const sample = [Buffer.alloc(SAMPLE_BYTES)];
  const sealers = { ChaChaPoly: new RecordSealer('ChaChaPoly', key), AESGCM: new RecordSealer('AESGCM', key) };
  return chooseSuite((suite) => {
    const start = now();
    sealers[suite].seal(sample);
    return now() - start;
  });
}
