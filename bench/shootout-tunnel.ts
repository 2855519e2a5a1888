/** wstun between the clients of the shootout and their server: one relay, and as many clients of it as they need. */
import type { Settings } from './measure.ts';
import type { Node } from './nodes.ts';
import { startRelayFor } from './subjects.ts';

/** As many streams as an exit allows a session (docs/limits.md), with some to spare. */
const STREAMS_OF_CLIENT = 1_000;
/** A relay has a socket to the server for each, and few others. */
const MOST_CLIENTS = 12_000;

/** A way to the server. */
export interface Contestant {
  readonly name: string;
  /** What wstun runs on; undefined for another program, and for no tunnel. */
  readonly node: Node | undefined;
  /** Another program. */
  readonly isPeer: boolean;
  readonly target: number;
  readonly most: number;
  /** For the client with that number and those after it, as many as `room`: the port of a proxy, 0 for none. */
  wayFor(client: number): Promise<{ readonly via: number; readonly room: number }>;
  stop(): Promise<void>;
}

export async function startContestant({ wstun }: Settings, node: Node, target: number): Promise<Contestant> {
  const relay = await startRelayFor({ name: 'wstun', target, options: { program: node.program } }, wstun);
  const proxies: number[] = [];
  return {
    ...{ name: `wstun${node.suffix}`, node, isPeer: false, target, most: MOST_CLIENTS, stop: relay.stop },
    wayFor: async (client) => {
      const number = Math.floor(client / STREAMS_OF_CLIENT);
      while (proxies.length <= number) proxies.push(await relay.addClient());
      return { via: proxies[number] ?? 0, room: STREAMS_OF_CLIENT - (client % STREAMS_OF_CLIENT) };
    },
  };
}
