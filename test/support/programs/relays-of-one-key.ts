/** Several relays with the same keys, and a named exit that is registered at all of them, as processes. */
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { RealEchoes } from '../net/real-echoes.ts';
import { echo, tcpServer } from '../net/tcp.ts';
import { connectThrough } from '../proxy/through-proxy.ts';
import { tempDir } from '../temp-dir.ts';
import { until } from '../until.ts';
import { freePort } from './programs.ts';
import {
  invite,
  type RunningClient,
  type RunningExit,
  type RunningRelay,
  startClient,
  startExit,
  startRelay,
} from './wstun-stack.ts';

/** As docs/operations.md says it ("Several relays"). */
async function copyOf({ state }: RunningRelay): Promise<string> {
  const copy = join(await tempDir(), 'relay');
  await mkdir(copy, { mode: 0o700 });
  for (const name of ['identity.key', 'access.toml']) await copyFile(join(state, name), join(copy, name));
  return copy;
}

export class RelaysOfOneKey {
  readonly relays: RunningRelay[];
  readonly urls: readonly string[];
  readonly exit: RunningExit;

  private constructor(relays: RunningRelay[], exit: RunningExit) {
    this.relays = relays;
    this.urls = relays.map(({ url }) => url);
    this.exit = exit;
  }

  static async start(count: number): Promise<RelaysOfOneKey> {
    const first = await startRelay({ args: ['--no-exit'] });
    const ports: number[] = [];
    while (ports.length < count - 1) {
      const port = await freePort();
      if (!ports.includes(port)) ports.push(port);
    }
    const urls = [first.url, ...ports.map((port) => `ws://127.0.0.1:${port}`)];
    const registration = await invite(first, 'home', { role: 'exit', urls });
    const relays = [first];
    for (const port of ports) relays.push(await startRelay({ state: await copyOf(first), port, args: ['--no-exit'] }));
    const exit = await startExit({ invite: registration });
    const all = new RelaysOfOneKey(relays, exit);
    await all.whenRegistered();
    return all;
  }

  /** The same with a client, and a connection through it on which bytes are echoed all the time. */
  static async withClient(count: number): Promise<{ all: RelaysOfOneKey; client: RunningClient; echoes: RealEchoes }> {
    const all = await RelaysOfOneKey.start(count);
    const client = await startClient(await invite(all.exit, 'alice', { allow: ['127.0.0.1'] }));
    const echoes = new RealEchoes(await connectThrough('SOCKS5', client.port, await tcpServer(echo)));
    await echoes.more(50);
    return { all, client, echoes };
  }

  /** By which of them the client goes. */
  inUseBy(client: RunningClient): string {
    const told = client.process.events.findLast(({ event }) => event === 'relay');
    return (told?.relay as string | undefined) ?? this.urls[0] ?? '';
  }

  /** The exit is registered at all of them. */
  async whenRegistered(): Promise<void> {
    await until(() => this.relays.every(({ url }) => this.isRegisteredAt(url)), 60_000);
  }

  isRegisteredAt(url: string): boolean {
    const told = this.exit.process.events.findLast(
      ({ event, relay }) => (event === 'relay' || event === 'ready') && relay === url,
    );
    return told !== undefined && told.registered !== false;
  }

  at(url: string): RunningRelay {
    const relay = this.relays.find((one) => one.url === url);
    if (relay === undefined) throw new Error(`there is no relay ${url}`);
    return relay;
  }

  /** One that has ended runs again. */
  async restart(url: string): Promise<void> {
    const { state, port } = this.at(url);
    const again = await startRelay({ state, port, args: ['--no-exit'] });
    this.relays[this.urls.indexOf(url)] = { ...again, url };
    await this.whenRegistered();
  }
}
