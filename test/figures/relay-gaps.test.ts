/**
 * How long a connection stands still when the relay that carries it is killed or stopped, and another one leads to the
 * same exit. FIGURES=1 does it 20 times each, and prints the gaps.
 */
import { expect, it } from 'vitest';
import { EVERY_MS } from '../support/net/real-echoes.ts';
import { RelaysOfOneKey } from '../support/programs/relays-of-one-key.ts';
import { until } from '../support/until.ts';

const ROUNDS = process.env.FIGURES === undefined ? 5 : 20;
const LIMIT_MS = 600_000;
/** docs/adr/0034-a-race-of-relays.md. */
const MOST_MS = 1_500;

type Stack = Awaited<ReturnType<typeof RelaysOfOneKey.withClient>>;

/** @param harm what happens to the relay in use, and what makes it good again */
async function gapsOf({ all, client, echoes }: Stack, harm: Harm): Promise<readonly number[]> {
  const gaps: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const used = all.inUseBy(client);
    const at = performance.now();
    await harm.begin(all, used);
    await until(() => all.inUseBy(client) !== used, 20_000);
    // Longer than what tells a relay that was stopped from a path that pauses.
    await echoes.more(400);
    gaps.push(await echoes.longestSince(at - 2 * EVERY_MS));
    await harm.end(all, used);
  }
  return gaps.toSorted((a, b) => a - b);
}

interface Harm {
  begin(all: RelaysOfOneKey, relay: string): Promise<unknown>;
  end(all: RelaysOfOneKey, relay: string): Promise<unknown>;
}

const KILL: Harm = {
  begin: (all, relay) => all.at(relay).process.kill(),
  end: (all, relay) => all.restart(relay),
};

const STOP: Harm = {
  begin: async (all, relay) => all.at(relay).process.signal('SIGSTOP'),
  end: async (all, relay) => {
    all.at(relay).process.signal('SIGCONT');
    await all.whenRegistered();
  },
};

it.each([
  ['killed', KILL],
  ['stopped', STOP],
] as const)(
  'a relay that is %s costs less than 1.5 s, and no connection',
  { timeout: LIMIT_MS },
  async (what, harm) => {
    const stack = await RelaysOfOneKey.withClient(2);
    const gaps = await gapsOf(stack, harm);
    const shown = [gaps[Math.floor(gaps.length / 2)], gaps.at(-1)].map((ms) => Math.round(ms ?? 0));
    if (process.env.FIGURES !== undefined)
      process.stderr.write(
        `a relay that is ${what}: median ${shown[0]} ms, longest ${shown[1]} ms of ${gaps.length}\n`,
      );
    expect(gaps.at(-1)).toBeLessThan(MOST_MS);
    const names = stack.client.process.events.map(({ event }) => event);
    for (const name of ['session-lost', 'connected', 'limit']) expect(names).not.toContain(name);
  },
);
