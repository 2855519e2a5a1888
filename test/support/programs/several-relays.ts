/** Several relays with the same keys, as their owner sets them up: each with a copy of the first one's directory. */
import { cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { tempDir } from '../temp-dir.ts';
import { freePort } from './programs.ts';
import { invite, type RunningRelay, startRelay } from './wstun-stack.ts';

export interface SeveralRelays {
  /** By their numbers. */
  readonly relays: RunningRelay[];
  /** In the order of the relays. */
  readonly urls: readonly string[];
  /** By which exits register at all of them. */
  readonly registrations: ReadonlyMap<string, string>;
  /** Starts the relay of that number again, at its old port. */
  restart(number: number): Promise<void>;
}

/** @param exits their names @param args of all relays @param dirs their directories, of which the first is empty */
export async function startSeveralRelays(
  count: number,
  exits: readonly string[],
  args: readonly string[] = ['--no-exit'],
  dirs?: readonly string[],
): Promise<SeveralRelays> {
  const ports: number[] = [];
  for (let i = 0; i < count; i++) ports.push(await freePort());
  const urls = ports.map((port) => `ws://127.0.0.1:${port}`);
  const states = dirs ?? (await Promise.all(ports.map(() => tempDir())));
  const start = async (number: number): Promise<RunningRelay> => {
    // Its own URL first.
    const own = [urls[number] ?? '', ...urls.filter((_, at) => at !== number)].flatMap((url) => ['--url', url]);
    return startRelay({ state: states[number] ?? '', port: ports[number] ?? 0, args: [...args, ...own] });
  };
  const first = await start(0);
  const registrations = new Map<string, string>();
  for (const name of exits) registrations.set(name, await invite(first, name, { role: 'exit', urls }));
  const relays = [first];
  for (let number = 1; number < count; number++) {
    const state = states[number] ?? '';
    await mkdir(state, { recursive: true, mode: 0o700 });
    for (const file of ['identity.key', 'access.toml']) await cp(join(first.state, file), join(state, file));
    relays.push(await start(number));
  }
  return {
    relays,
    urls,
    registrations,
    restart: async (number) => {
      relays[number] = await start(number);
    },
  };
}
