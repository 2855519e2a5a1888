/** What an examination finds out about this machine: proxy settings, the port of the proxy, and its name servers. */
import { Resolver } from 'node:dns';
import { getServers } from 'node:dns/promises';
import { once } from 'node:events';
import { connect, createServer, isIP } from 'node:net';
import { settledWithin } from '../async/abortable.ts';
import { systemClock } from '../clock.ts';
import type { EnvironmentFacts, ListenFacts, NameFacts, ServerAnswer } from '../doctor/probes.ts';
import { cannotListen } from '../listen-fault.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { NAME_SLOW } from '../transport/connection/relay-dial-faults.ts';
import { addressesOf } from '../transport/connection/tcp-dial.ts';
import { LOCAL_PROXY } from '../transport/proxy/local-proxy.ts';
import { proxyInEnvironment } from '../transport/proxy/proxy-environment.ts';
import { withoutUserInfo } from '../transport/proxy/proxy-url.ts';

/** Where the choices are from, for faults. */
export const PROXY_VARIABLES = 'the environment';
/** `HTTP_PROXY` is not read by a client, and many set only that. */
const VARIABLES = ['https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY', 'http_proxy', 'HTTP_PROXY'] as const;
/** For a look at a port of this machine, ms. */
const LOOK_MS = 300;
const MAX_LOOKED_AT = 4096;
/** For the system's resolver, which may ask each server several times, and for one answer of one server, ms. */
const SYSTEM_MS = 2_500;
const SERVER_MS = 1_200;
/** Name servers that are asked. */
const MAX_SERVERS = 4;

// ── the environment ──────────────────────────────────────────────────────────────────────────────────────────────────

export async function lookAtEnvironment(
  url: URL,
  proxy: string | undefined,
  signal: AbortSignal,
): Promise<EnvironmentFacts> {
  const { env } = process;
  const isChosen = proxy !== undefined && proxy !== 'env';
  const found = isChosen ? undefined : proxyInEnvironment(url, env);
  const withoutExceptions = proxyInEnvironment(url, { ...env, no_proxy: '', NO_PROXY: '' });
  const used = found && `${found.variable}=${withoutUserInfo(found.text)}`;
  const listens = (await greeting(LOCAL_PROXY, signal)) !== undefined;
  return {
    used: isChosen ? [`--proxy ${withoutUserInfo(proxy)}`] : used === undefined ? [] : [used],
    unused: unusedVariables(url, proxy),
    isExcepted: !isChosen && found === undefined && withoutExceptions !== undefined,
    localProxy: listens ? formatHostPort(LOCAL_PROXY) : undefined,
  };
}

/** Of those that name a proxy, the ones that are not used for this URL. */
export function unusedVariables(url: URL, proxy: string | undefined): readonly string[] {
  const used = proxy === undefined || proxy === 'env' ? proxyInEnvironment(url, process.env) : undefined;
  return VARIABLES.filter((name) => {
    const value = process.env[name];
    return value !== undefined && value.trim() !== '' && value !== used?.text;
  });
}

// ── the port of the proxy ────────────────────────────────────────────────────────────────────────────────────────────

/** @throws WstunError cannot-listen, unless it is wstun that listens there */
export async function lookAtPort(place: HostPort, signal: AbortSignal): Promise<ListenFacts> {
  const server = createServer();
  try {
    server.listen({ ...place, signal });
    await once(server, 'listening');
    server.close();
    return 'free';
  } catch (error) {
    if (/\bwstun\b/.test((await greeting(place, signal)) ?? '')) return 'wstun';
    throw cannotListen(place, error);
  }
}

/** What is answered to a request of HTTP; '' if nothing is; undefined: nobody listens. */
async function greeting(place: HostPort, signal: AbortSignal): Promise<string | undefined> {
  const socket = connect({ ...place, signal }).on('error', () => {});
  let answer: string | undefined;
  const over = new Promise<void>((resolve) => {
    socket.once('connect', () => {
      answer = '';
      socket.write('GET / HTTP/1.0\r\n\r\n');
    });
    socket.on('data', (chunk: Buffer) => {
      answer = `${answer}${chunk.toString('latin1')}`;
      if (answer.length > MAX_LOOKED_AT) resolve();
    });
    socket.once('close', () => resolve());
  });
  await settledWithin(systemClock, LOOK_MS, over);
  socket.destroy();
  return answer;
}

// ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Undefined for an address. Takes at most `SYSTEM_MS`. */
export async function findNames(
  host: string,
  lastGood: string | undefined,
  signal: AbortSignal,
): Promise<NameFacts | undefined> {
  if (isIP(host) !== 0) return undefined;
  let addresses: readonly string[] = [];
  let code: string | undefined = NAME_SLOW;
  const resolved = addressesOf(host).then(
    (found) => {
      addresses = found;
      code = found.length === 0 ? 'ENOTFOUND' : undefined;
    },
    (error: unknown) => {
      code = codeOf(error);
    },
  );
  const isLocal = /(?:^|\.)localhost$/i.test(host);
  const [servers] = await Promise.all([
    isLocal
      ? []
      : Promise.all(
          getServers()
            .slice(0, MAX_SERVERS)
            .map((server) => askServer(server, host, signal)),
        ),
    settledWithin(systemClock, SYSTEM_MS, resolved),
  ]);
  return { host, addresses: [...new Set(addresses)], servers, lastGood, ...(code !== undefined && { code }) };
}

async function askServer(server: string, host: string, signal: AbortSignal): Promise<ServerAnswer> {
  const resolver = new Resolver({ timeout: SERVER_MS, tries: 1 });
  const stop = (): void => resolver.cancel();
  signal.addEventListener('abort', stop, { once: true });
  const timer = systemClock.setTimeout(stop, SERVER_MS);
  try {
    resolver.setServers([server]);
    const answers = await Promise.all([ask(resolver, 'A', host), ask(resolver, 'AAAA', host)]);
    const addresses = answers.flatMap((answer) => answer.addresses);
    const fault = answers.map((answer) => answer.fault).find((each) => each !== undefined);
    return { server, addresses, ...(addresses.length === 0 && fault && { fault }) };
  } catch {
    // A form of address that the resolver does not take.
    return { server, addresses: [], fault: 'failed' };
  } finally {
    systemClock.clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}

function ask(resolver: Resolver, type: 'A' | 'AAAA', host: string): Promise<Pick<ServerAnswer, 'addresses' | 'fault'>> {
  return new Promise((resolve) => {
    resolver.resolve(host, type, (error, records) => {
      if (error === null) return resolve({ addresses: records.filter((record) => typeof record === 'string') });
      const fault = FAULTS_OF_SERVERS[codeOf(error)];
      resolve({ addresses: [], ...(fault !== 'none' && { fault: fault ?? 'failed' }) });
    });
  });
}

/** `none`: there is such a name, without an address of that family. */
const FAULTS_OF_SERVERS: Readonly<Partial<Record<string, NonNullable<ServerAnswer['fault']> | 'none'>>> = {
  ENODATA: 'none',
  ENOTFOUND: 'unknown',
  ETIMEOUT: 'silent',
  ECANCELLED: 'silent',
  ECONNREFUSED: 'silent',
};

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
