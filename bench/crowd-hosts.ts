/**
 * Relays and exits for very many clients: their keys and access lists, their processes, and how relays are killed. As a
 * service manager does, a shell holds each relay's listening socket and starts the relay again whenever it ends, so that
 * nobody is refused a connection meanwhile.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { type Issuer, relayIssuer } from '../src/app/invites.ts';
import { encodeInvite } from '../src/crypto/invite.ts';
import { createIdentity, formatPublicIdentity, type Identity } from '../src/crypto/keys.ts';
import { ACCESS_FILE_NAME } from '../src/state/access-file.ts';
import { loadOrCreateIdentity } from '../src/state/identity-file.ts';
import { openStateDir } from '../src/state/state-dir.ts';
import { childrenOf, Program, proportionalSetOf } from './programs.ts';
import { stateDir, stopAll } from './subjects.ts';

/** Of each client; a person's devices are fewer. An exit keeps 16 of one client when their links are lost. */
export const SESSIONS_OF_CLIENT = 10;
const MOST_SESSIONS_OF_CLIENT = 16;
/** A relay keeps so many descriptors for other things than links (docs/limits.md), and has streams to targets. */
const OTHER_DESCRIPTORS = 1_500;
/** For links that are lost, and not known to be yet. */
const SPARE_LINKS = 500;
const READY_LIMIT_MS = 60_000;
const EXIT_NAME = 'home';

/** Its arguments are the command. The pause is that of systemd (RestartSec). */
const KEEPER = `
while :; do
  (
    export LISTEN_FDS=1 LISTEN_PID=$BASHPID
    exec "$@"
  )
  sleep 0.1
done`;

export interface HostOptions {
  readonly wstun: string;
  /** The Node for relays and exits. */
  readonly program: string;
  /** Relays; with `named` each has an exit of its own. */
  readonly relays: number;
  readonly clients: number;
  /** Sessions are at a named exit, and the relay has two links for each. */
  readonly named: boolean;
}

/** Clients of one relay, or of its exit. */
interface Known {
  readonly list: string;
  readonly invites: readonly string[];
}

/** How many sessions one relay can have, by the descriptors of a process. */
export function sessionsOfRelay(descriptors: number, named: boolean): number {
  return Math.floor((descriptors - OTHER_DESCRIPTORS) / (named ? 2 : 1));
}

export class CrowdHosts {
  private constructor(
    /** Of each relay: those of its clients. */
    readonly invites: readonly (readonly string[])[],
    private readonly keepers: readonly Program[],
    private readonly exits: readonly Program[],
    private readonly directories: readonly string[],
  ) {}

  static async start(options: HostOptions): Promise<CrowdHosts> {
    const invites: (readonly string[])[] = [];
    const keepers: Program[] = [];
    const exits: Program[] = [];
    const directories: string[] = [];
    for (let i = 0; i < options.relays; i++) {
      const host = await startHost(options);
      invites.push(host.invites);
      keepers.push(host.keeper);
      exits.push(...host.exits);
      directories.push(...host.directories);
    }
    return new CrowdHosts(invites, keepers, exits, directories);
  }

  get relayIds(): readonly number[] {
    return this.keepers.flatMap(({ pid }) => childrenOf(pid));
  }

  get processCount(): number {
    return this.keepers.length + this.exits.length;
  }

  /** CPU time of relays and exits, s: those that were killed are not in it. */
  get cpuSeconds(): number {
    return [...this.keepers, ...this.exits].reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0);
  }

  /** Of the exits alone. */
  get exitSeconds(): number {
    return this.exits.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0);
  }

  /** Memory of relays and exits, bytes: pages that several processes share count once. */
  get memory(): number {
    const ids = [...this.relayIds, ...this.exits.map(({ pid }) => pid)];
    return ids.reduce((sum, id) => sum + proportionalSetOf(id), 0);
  }

  /** All at the same moment. Resolves when all that replace them are ready. */
  async killRelays(): Promise<void> {
    for (const id of this.relayIds) process.kill(id, 'SIGKILL');
    await Promise.all(this.keepers.map((keeper) => keeper.ready(READY_LIMIT_MS)));
  }

  async stop(): Promise<void> {
    await stopAll([...this.keepers, ...this.exits], this.directories);
  }
}

async function startHost(options: HostOptions) {
  const { wstun, program, named } = options;
  const [socket, url] = await listen();
  const state = await openStateDir(await stateDir());
  const { identity } = await loadOrCreateIdentity(state);
  const issuer = relayIssuer(identity, [url]);
  const count = Math.ceil(options.clients / options.relays);
  const registering = createIdentity();
  const known = named ? undefined : knownClients(issuer, count);
  await state.write(ACCESS_FILE_NAME, known?.list ?? entryOf(EXIT_NAME, registering, 'role = "exit"'));
  await state.write('limits.toml', limitsOf(count * SESSIONS_OF_CLIENT, named));
  const relayArgs = [
    'relay',
    '--state',
    state.path,
    '--url',
    url,
    '--json',
    '--quiet',
    ...(named ? ['--no-exit'] : []),
  ];
  const command = ['setpriv', '--pdeathsig', 'KILL', '--', program, wstun, ...relayArgs];
  const keeper = Program.run('relay', ['bash', '-c', KEEPER, 'keeper', ...command], {
    descriptors: [descriptorOf(socket)],
  });
  socket.close();
  await keeper.ready(READY_LIMIT_MS);
  if (known !== undefined) return { keeper, exits: [], invites: known.invites, directories: [state.path] };
  const registration = encodeInvite({ ...issuer, peer: registering, role: 'exit', exitName: EXIT_NAME });
  const exit = await startCrowdedExit(options, issuer, registration, count);
  return { keeper, exits: [exit.exit], invites: exit.invites, directories: [state.path, exit.directory] };
}

async function startCrowdedExit({ wstun, program }: HostOptions, issuer: Issuer, registration: string, count: number) {
  const state = await openStateDir(await stateDir());
  const { identity } = await loadOrCreateIdentity(state);
  const { session } = identity.public;
  const { list, invites } = knownClients({ ...issuer, exitSessionKey: session, exitName: EXIT_NAME }, count);
  await state.write(ACCESS_FILE_NAME, list);
  const exit = Program.start('exit', wstun, ['exit', '--state', state.path, '--json', '--quiet'], {
    ...{ program, env: { WSTUN_INVITE: registration } },
  });
  await exit.ready(READY_LIMIT_MS);
  return { exit, invites, directory: state.path };
}

function knownClients(issuer: Issuer, count: number): Known {
  const peers = Array.from({ length: count }, () => createIdentity());
  const rest = `allow = ["127.0.0.1"]\nsessions = ${MOST_SESSIONS_OF_CLIENT}`;
  const entries = peers.map((peer, i) => entryOf(`client${i}`, peer, rest));
  return { list: entries.join('\n'), invites: peers.map((peer) => encodeInvite({ ...issuer, peer })) };
}

function entryOf(name: string, peer: Identity, rest: string): string {
  return `[${name}]\nkey = "${formatPublicIdentity(peer.public)}"\n${rest}\n`;
}

/** As an owner with so many clients sets them: all of them may return in the same second. */
function limitsOf(sessions: number, named: boolean): string {
  // One exit alone may have four fifths of the links.
  const links = Math.ceil(named ? (2 * sessions * 5) / 4 : sessions) + SPARE_LINKS;
  return `links = ${links}\npending = ${2 * sessions}\n`;
}

async function listen(): Promise<[Server, url: string]> {
  const server = createServer();
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
  await once(server, 'listening');
  return [server, `ws://127.0.0.1:${(server.address() as AddressInfo).port}`];
}

/** Node has no public name for it. */
function descriptorOf(server: Server): number {
  return (server as unknown as { readonly _handle: { readonly fd: number } })._handle.fd;
}
