/** A relay and clients of it as processes, ready for use. */
import { accessFile, findIssuer, inviteNewPeer, newEntry } from '../../../src/app/invites.ts';
import { adoptUrls } from '../../../src/app/own-urls.ts';
import { parseLimitOptions } from '../../../src/state/access-limits.ts';
import { loadOrCreateIdentity } from '../../../src/state/identity-file.ts';
import { openStateDir } from '../../../src/state/state-dir.ts';
import type { DnsServer } from '../net/dns-server.ts';
import { tempDir } from '../temp-dir.ts';
import { until } from '../until.ts';
import { WstunProcess } from './wstun-process.ts';

export interface RunningRelay {
  readonly process: WstunProcess;
  readonly port: number;
  readonly url: string;
  readonly state: string;
  /** `HOST:PORT`, with `--admin`. */
  readonly admin: string | undefined;
  /** Only at the first start with its state directory. */
  readonly invite: string | undefined;
}

export interface RunningClient {
  readonly process: WstunProcess;
  /** Of its proxy, on 127.0.0.1. */
  readonly port: number;
}

export interface RelayOptions {
  readonly state?: string;
  readonly port?: number;
  readonly args?: readonly string[];
  readonly dns?: DnsServer;
  readonly env?: Readonly<Record<string, string>>;
  readonly within?: readonly string[];
}

/** All relays of the tests are of so many workers: WSTUN_RELAY_WORKERS=2 npx vitest run test/e2e/access.test.ts */
const WORKERS = process.env.WSTUN_RELAY_WORKERS;

export async function startRelay(options: RelayOptions = {}): Promise<RunningRelay> {
  const state = options.state ?? (await tempDir());
  const dns = options.dns ? ['--dns', options.dns.address] : [];
  const listen = ['--listen', `127.0.0.1:${options.port ?? 0}`, '--state', state];
  const workers = WORKERS === undefined || options.args?.includes('--workers') ? [] : ['--workers', WORKERS];
  const args = ['relay', ...listen, '--json', ...dns, ...workers, ...(options.args ?? [])];
  const { env = {}, within = [] } = options;
  const process = new WstunProcess(args, { env, within });
  const ready = await process.event('ready');
  const invite = ready.invite as string | undefined;
  const admin = ready.admin as string | undefined;
  return { process, port: portOf((ready.listen as string[])[0]), url: ready.url as string, state, admin, invite };
}

export interface InviteOptions {
  readonly role?: 'client' | 'exit';
  readonly allow?: readonly string[];
  readonly listen?: readonly string[];
  readonly url?: string;
  /** In the place of `url`. */
  readonly urls?: readonly string[];
  readonly sessions?: string;
  readonly rate?: string;
  readonly quota?: string;
}

/**
 * The invite of a new name on the list of a relay, or of a named exit, which has taken the change over when this
 * resolves. Made in this process, by what `wstun access add` calls: a program for each would take half of a test's time.
 */
export async function invite(
  of: { readonly state: string; readonly process?: WstunProcess },
  name: string,
  { role, allow, listen, url, urls = url === undefined ? [] : [url], ...limits }: InviteOptions = {},
): Promise<string> {
  const state = await openStateDir(of.state);
  const issuer = await findIssuer(state, urls, loadOrCreateIdentity);
  if (issuer === undefined) throw new Error(`no URL is known in ${of.state}`);
  if (issuer.exitName === undefined) await adoptUrls(state, urls);
  const entry = newEntry(name, { role, allow, listen, limits: parseLimitOptions(limits) });
  const reloads = () => of.process?.stderr.split('access list reloaded').length ?? 0;
  const before = reloads();
  const secret = await inviteNewPeer(accessFile(state), issuer, entry);
  if (of.process?.isRunning) await until(() => reloads() > before);
  return secret;
}

export interface RunningExit {
  readonly process: WstunProcess;
  readonly state: string;
}

/** A named exit; `invite` may be left out where its state directory has been in use. */
export async function startExit(options: {
  readonly state?: string;
  readonly invite?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly within?: readonly string[];
}): Promise<RunningExit> {
  const state = options.state ?? (await tempDir());
  const env = { ...options.env, ...(options.invite !== undefined && { WSTUN_INVITE: options.invite }) };
  const process = new WstunProcess(['exit', '--json', '--state', state, ...(options.args ?? [])], {
    env,
    within: options.within ?? [],
  });
  await process.event('ready');
  return { process, state };
}

/** A relay that only forwards, and the exit `home` behind it; `registration` is the invite by which that registered. */
export async function startBehindRelay(
  exitArgs: readonly string[] = [],
  { within = [] }: { readonly within?: readonly string[] } = {},
): Promise<{ relay: RunningRelay; exit: RunningExit; registration: string }> {
  const relay = await startRelay({ args: ['--no-exit'] });
  const registration = await invite(relay, 'home', { role: 'exit' });
  return { relay, exit: await startExit({ invite: registration, args: exitArgs, within }), registration };
}

export interface ClientOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly within?: readonly string[];
}

export function spawnClient(secret: string, { args = [], env = {}, within = [] }: ClientOptions = {}): WstunProcess {
  return new WstunProcess(['client', '--listen', '127.0.0.1:0', '--json', ...args], {
    env: { ...env, WSTUN_INVITE: secret },
    within,
  });
}

export async function startClient(secret: string, options: ClientOptions = {}): Promise<RunningClient> {
  const process = spawnClient(secret, options);
  const ready = await process.event('ready');
  return { process, port: portOf(ready.listen as string) };
}

export interface Stack {
  readonly relay: RunningRelay;
  readonly client: RunningClient;
}

/** A relay, and a client to which every target is open. */
export async function startStack(options: RelayOptions = {}): Promise<Stack> {
  const relay = await startRelay(options);
  return { relay, client: await startClient(await invite(relay, 'tester', { allow: ['*'] })) };
}

function portOf(hostPort: string | undefined): number {
  return Number(hostPort?.replace(/^.*:/, ''));
}
