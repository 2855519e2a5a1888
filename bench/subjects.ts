/** What is compared: two plain forwarders in a row, and a wstun client with its relay. Two processes each. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { relayIssuer } from '../src/cli/access.ts';
import { encodeInvite } from '../src/crypto/invite.ts';
import { createIdentity, formatPublicIdentity } from '../src/crypto/keys.ts';
import { ACCESS_FILE_NAME } from '../src/state/access-file.ts';
import { loadOrCreateIdentity } from '../src/state/identity-file.ts';
import { openStateDir } from '../src/state/state-dir.ts';
import { benchFile, Program, type ProgramOptions } from './programs.ts';

export interface Subject {
  /** Of its SOCKS5 proxy on 127.0.0.1; 0 where the load goes straight to `target`. */
  readonly via: number;
  readonly target: number;
  /** The one near the load first. */
  readonly programs: readonly [Program, Program];
  stop(): Promise<void>;
}

/** `straight`: the first forwarder has a fixed target too, and the load does without SOCKS5 there. */
export async function startForwarders(target: number, straight: boolean, options: ProgramOptions): Promise<Subject> {
  const script = benchFile('forwarder.js');
  const far = Program.start('forwarder 2', script, ['to', String(target)], options);
  const { port: farPort } = await far.ready<{ port: number }>();
  const near = Program.start('forwarder 1', script, [straight ? 'to' : 'socks', String(farPort)], options);
  const { port } = await near.ready<{ port: number }>();
  return {
    via: straight ? 0 : port,
    target: straight ? port : target,
    programs: [near, far],
    stop: async () => {
      await near.stop();
      await far.stop();
    },
  };
}

export interface RelayAndInvite {
  readonly relay: Program;
  readonly invite: string;
  stop(): Promise<void>;
}

/** A relay with a state directory of its own, and an invite whose bearer may reach this machine. */
export async function startRelay(wstun: string, options: ProgramOptions): Promise<RelayAndInvite> {
  const state = await mkdtemp(join(tmpdir(), 'wstun-bench-'));
  const args = ['relay', '--listen', '127.0.0.1:0', '--state', state, '--json'];
  const relay = Program.start('relay', wstun, args, options);
  const { url } = await relay.ready<{ url: string }>();
  const add = [wstun, 'access', 'add', 'bench', '--state', state, '--url', url, '--allow', '127.0.0.1'];
  const { stdout } = await promisify(execFile)(process.execPath, add);
  return {
    relay,
    invite: stdout.trim(),
    stop: async () => {
      await relay.stop();
      await rm(state, { recursive: true, force: true });
    },
  };
}

export interface CrowdedRelay {
  readonly relay: Program;
  readonly invites: string[];
  stop(): Promise<void>;
}

/** A relay that knows so many clients from the start. `wstun access add` would take a process and a reading of the list for each. */
export async function startCrowdedRelay(
  wstun: string,
  bearers: number,
  options: ProgramOptions,
): Promise<CrowdedRelay> {
  const directory = await mkdtemp(join(tmpdir(), 'wstun-bench-'));
  const state = await openStateDir(directory);
  const { identity } = await loadOrCreateIdentity(state);
  const known = Array.from({ length: bearers }, () => createIdentity());
  const list = known.map(
    (bearer, i) => `[bearer${i}]\nkey = "${formatPublicIdentity(bearer.public)}"\nsessions = 1000\n`,
  );
  await state.write(ACCESS_FILE_NAME, list.join('\n'));
  const relay = Program.start(
    'relay',
    wstun,
    ['relay', '--listen', '127.0.0.1:0', '--state', directory, '--json'],
    options,
  );
  const { url } = await relay.ready<{ url: string }>();
  const issuer = relayIssuer(identity, url);
  return {
    relay,
    invites: known.map((bearer) => encodeInvite({ ...issuer, bearer })),
    stop: async () => {
      await relay.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** `wstun`: the file to run. */
export async function startWstun(wstun: string, target: number, options: ProgramOptions): Promise<Subject> {
  const { relay, invite, stop } = await startRelay(wstun, options);
  const client = Program.start('client', wstun, ['client', '--listen', '127.0.0.1:0', '--json'], {
    ...options,
    env: { ...options.env, WSTUN_INVITE: invite },
  });
  const { listen } = await client.ready<{ listen: string }>();
  return {
    via: Number(listen.slice(listen.lastIndexOf(':') + 1)),
    target,
    programs: [client, relay],
    stop: async () => {
      await client.stop();
      await stop();
    },
  };
}
