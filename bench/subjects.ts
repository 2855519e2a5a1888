/**
 * What is compared: two plain forwarders in a row, two that seal as well, and a wstun client with its relay, and an
 * exit behind it.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { relayIssuer } from '../src/app/invites.ts';
import { encodeInvite } from '../src/crypto/invite.ts';
import { createIdentity, formatPublicIdentity } from '../src/crypto/keys.ts';
import { ACCESS_FILE_NAME } from '../src/state/access-file.ts';
import { loadOrCreateIdentity } from '../src/state/identity-file.ts';
import { openStateDir } from '../src/state/state-dir.ts';
import { benchFile, Program, type ProgramOptions } from './programs.ts';

export interface Subject {
  readonly name: string;
  /** Of its SOCKS5 proxy on 127.0.0.1; 0 where the load goes straight to `target`. */
  readonly via: number;
  readonly target: number;
  /** The one near the load first. */
  readonly programs: readonly [Program, ...Program[]];
  /** Says the end of one direction and lets the other go on; without that there are no uploads through it. */
  readonly halfCloses: boolean;
  stop(): Promise<void>;
}

/** The programs of one subject on one Node: what all of them need to know. */
export interface Placement {
  readonly name: string;
  readonly target: number;
  readonly options: ProgramOptions;
}

/** `straight`: the first forwarder has a fixed target too, and the load does without SOCKS5 there. */
export function startForwarders(placement: Placement, straight: boolean): Promise<Subject> {
  return startPair(placement, 'forwarder.js', straight);
}

export function startFloor(placement: Placement): Promise<Subject> {
  return startPair(placement, 'floor.js', false);
}

async function startPair({ name, target, options }: Placement, file: string, straight: boolean): Promise<Subject> {
  const script = benchFile(file);
  const far = Program.start(`${name} 2`, script, ['to', String(target)], options);
  const { port: farPort } = await far.ready<{ port: number }>();
  const near = Program.start(`${name} 1`, script, [straight ? 'to' : 'socks', String(farPort)], options);
  const { port } = await near.ready<{ port: number }>();
  return {
    name,
    via: straight ? 0 : port,
    target: straight ? port : target,
    programs: [near, far],
    halfCloses: true,
    stop: () => stopAll([near, far]),
  };
}

export async function stopAll(programs: readonly Program[], directories: readonly string[] = []): Promise<void> {
  for (const program of programs) await program.stop();
  for (const directory of directories) await rm(directory, { recursive: true, force: true });
}

/** `wstun`: the file to run. */
export async function startWstun({ name, target, options }: Placement, wstun: string): Promise<Subject> {
  const state = await stateDir();
  const { relay, url } = await startRelay(wstun, state, [], options);
  const secret = await invite(wstun, state, ['bench', '--url', url, '--allow', '127.0.0.1']);
  const { client, via } = await startClient(wstun, secret, options);
  const programs = [client, relay] as const;
  return { name, via, target, programs, halfCloses: true, stop: () => stopAll(programs, [state]) };
}

export interface RelayForMany {
  /** One more client; the port of its proxy. */
  addClient(): Promise<number>;
  stop(): Promise<void>;
}

/** A relay with its own exit, and clients as they are wanted. */
export async function startRelayFor({ options }: Placement, wstun: string): Promise<RelayForMany> {
  const state = await stateDir();
  const { relay, url } = await startRelay(wstun, state, [], options);
  const args = ['bench', '--url', url, '--allow', '127.0.0.1', '--sessions', '64'];
  const secret = await invite(wstun, state, args);
  const clients: Program[] = [];
  const addClient = async (): Promise<number> => {
    const { client, via } = await startClient(wstun, secret, options);
    clients.push(client);
    return via;
  };
  return { addClient, stop: () => stopAll([...clients, relay], [state]) };
}

/** The same through a relay that only forwards, to a named exit. */
export async function startBehindRelay({ name, target, options }: Placement, wstun: string): Promise<Subject> {
  const [relayState, exitState] = [await stateDir(), await stateDir()];
  const { relay, url } = await startRelay(wstun, relayState, ['--no-exit'], options);
  const registration = await invite(wstun, relayState, ['home', '--role', 'exit', '--url', url]);
  const exit = Program.start('exit', wstun, ['exit', '--state', exitState, '--json'], {
    ...options,
    env: { ...options.env, WSTUN_INVITE: registration },
  });
  await exit.ready();
  const secret = await invite(wstun, exitState, ['bench', '--allow', '127.0.0.1']);
  const { client, via } = await startClient(wstun, secret, options);
  const programs = [client, relay, exit] as const;
  return { name, via, target, programs, halfCloses: true, stop: () => stopAll(programs, [relayState, exitState]) };
}

export function stateDir(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'wstun-bench-'));
}

async function startRelay(
  wstun: string,
  state: string,
  args: readonly string[],
  options: ProgramOptions,
): Promise<{ relay: Program; url: string }> {
  const all = ['relay', '--listen', '127.0.0.1:0', '--state', state, '--json', ...args];
  const relay = Program.start('relay', wstun, all, options);
  const { url } = await relay.ready<{ url: string }>();
  return { relay, url };
}

async function startClient(
  wstun: string,
  secret: string,
  options: ProgramOptions,
): Promise<{ client: Program; via: number }> {
  const client = Program.start('client', wstun, ['client', '--listen', '127.0.0.1:0', '--json'], {
    ...options,
    env: { ...options.env, WSTUN_INVITE: secret },
  });
  const { listen } = await client.ready<{ listen: string }>();
  return { client, via: Number(listen.slice(listen.lastIndexOf(':') + 1)) };
}

/** Adds a name to the access list of a state directory. */
async function invite(wstun: string, state: string, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [wstun, 'access', 'add', ...args, '--state', state]);
  return stdout.trim();
}

export interface CrowdedRelay {
  readonly relay: Program;
  readonly invites: string[];
  stop(): Promise<void>;
}

/**
 * A relay that knows so many clients from the start. `wstun access add` would take a process and a reading of the list
 * for each.
 */
export async function startCrowdedRelay(wstun: string, peers: number, options: ProgramOptions): Promise<CrowdedRelay> {
  const directory = await stateDir();
  const state = await openStateDir(directory);
  const { identity } = await loadOrCreateIdentity(state);
  const known = Array.from({ length: peers }, () => createIdentity());
  const list = known.map((peer, i) => `[peer${i}]\nkey = "${formatPublicIdentity(peer.public)}"\nsessions = 1000\n`);
  await state.write(ACCESS_FILE_NAME, list.join('\n'));
  const { relay, url } = await startRelay(wstun, directory, [], options);
  const issuer = relayIssuer(identity, [url]);
  return {
    relay,
    invites: known.map((peer) => encodeInvite({ ...issuer, peer })),
    stop: () => stopAll([relay], [directory]),
  };
}
