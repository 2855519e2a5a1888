/** What is compared: two plain forwarders in a row, and a wstun client with its relay. Two processes each. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
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
  const add = [
    wstun,
    'access',
    'add',
    'bench',
    '--state',
    state,
    '--url',
    url,
    '--allow',
    '127.0.0.1',
    '--sessions',
    '1000',
  ];
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
