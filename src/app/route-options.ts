/** Puts together by which routes a client or an exit reaches its relays, and what it remembers of networks. */
import type { Logger } from '../observability/logger.ts';
import { type NetworkMemoryFile, readNetworkMemory } from '../state/network-memory.ts';
import { openStateDir, type StateDir } from '../state/state-dir.ts';
import { RelayAddresses } from '../transport/connection/relay-addresses.ts';
import { findLoginPage } from '../transport/login-page.ts';
import type { RelayRoutesOptions, RouteNotice } from '../tunnel/dial/relay-routes.ts';
import { networkTeller } from '../tunnel/reconnect/network-identity.ts';
import type { CarrierChoice } from '../tunnel/routes/route.ts';
import { RouteMemory } from '../tunnel/routes/route-memory.ts';
import type { ProxyUse } from './proxy-options.ts';

export type { RouteNotice };

export interface RouteOptions {
  /** What carries links. Default: `auto`, a WebSocket, and HTTP requests where the network lets none through. */
  readonly transport?: CarrierChoice;
}

export interface Networks {
  readonly memory: RouteMemory;
  readonly known: RelayAddresses;
  /** Resolves when what was learnt is kept. */
  close(): Promise<void>;
}

/** What is remembered of networks. @param directory where; undefined: nowhere, only for as long as this runs */
export async function openNetworks(directory: string | StateDir | undefined, logger: Logger): Promise<Networks> {
  const file = directory === undefined ? undefined : await openFile(directory, logger);
  const onChange = file && { onChange: (content: object) => file.save(content) };
  const memory = new RouteMemory({ network: networkTeller(), content: file?.content, ...onChange });
  return { memory, known: new RelayAddresses(memory), close: async () => file?.close() };
}

export function routesOf(
  { transport }: RouteOptions,
  memory: RouteMemory,
  { proxies }: ProxyUse,
  onNotice: (notice: RouteNotice) => void,
): RelayRoutesOptions {
  return {
    ...{ transport, memory, proxies, onNotice },
    findLoginPage: (relay, signal) => findLoginPage(relay, { signal }),
  };
}

/** A directory that cannot be used keeps no client from running. */
async function openFile(directory: string | StateDir, logger: Logger): Promise<NetworkMemoryFile | undefined> {
  try {
    const state = typeof directory === 'string' ? await openStateDir(directory) : directory;
    return await readNetworkMemory(state, logger);
  } catch (error) {
    logger.debug({ error: String(error) }, 'what is learnt of networks is not kept');
    return undefined;
  }
}
