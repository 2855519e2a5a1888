/** A process whose clock is wrong: libfaketime, as Debian's package `faketime` loads it. */
import { runWell } from './programs.ts';

/** For the environment of the process. @param seconds ahead of the clock of this machine; less than 0: behind it */
export async function wrongClock(seconds: number): Promise<Record<string, string>> {
  const offset = `${seconds < 0 ? '-' : '+'}${Math.abs(seconds)}s`;
  const environment = await runWell('faketime', ['-f', offset, 'env']);
  const preload = /^LD_PRELOAD=(.*)$/m.exec(environment)?.[1] ?? '';
  return { LD_PRELOAD: preload, FAKETIME: offset, DONT_FAKE_MONOTONIC: '1' };
}
