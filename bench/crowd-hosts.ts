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
import { childrenOf, familyOf, Program, proportionalSetOf, sum } from './programs.ts';
import { stateDir, stopAll } from './subjects.ts';

/** Of each client; a person's devices are fewer. An exit keeps 16 of one client when their links are lost. */
export const SESSIONS_OF_CLIENT = 10;
const MOST_SESSIONS_OF_CLIENT = 16;
/** A relay keeps so many descriptors for other things than links (docs/limits.md), and has streams to targets. */
const OTHER_DESCRIPTORS = 1_500;
/** For links that are lost, and not known to be yet. */
const SPARE_LINKS = 500;
const READY_LIMIT_MS = 60_000;

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
  /** Relays of their own, or with `workers` processes of one relay. */
  readonly relays: number;
  readonly workers: boolean;
  readonly clients: number;
  /** Sessions are at named exits, as many as there are relays, and a relay has two links for each. */
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
    for (let i = 0; i < (options.workers ? 1 : options.relays); i++) {
      const host = await startHost(options);
      invites.push(...host.invites);
      keepers.push(host.keeper);
      exits.push(...host.exits);
      directories.push(...host.directories);
    }
    return new CrowdHosts(invites, keepers, exits, directories);
  }

  /** Those of relays, workers included. */
  private get relayIds(): readonly number[] {
    return this.keepers.flatMap(({ pid }) => childrenOf(pid).flatMap(familyOf));
  }

  /** CPU time of relays and exits, s: those that were killed are not in it. */
  get cpuSeconds(): number {
    return sum([...this.keepers, ...this.exits].map(({ cpuSeconds }) => cpuSeconds));
  }

  /** Of the exits alone. */
  get exitSeconds(): number {
    return sum(this.exits.map(({ cpuSeconds }) => cpuSeconds));
  }

  /** Memory of relays and exits, bytes: pages that several processes share count once. */
  get memory(): number {
    const ids = [...this.relayIds, ...this.exits.map(({ pid }) => pid)];
    return sum(ids.map(proportionalSetOf));
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

interface Host {
  readonly keeper: Program;
  readonly exits: readonly Program[];
  /** Of each exit. */
  readonly invites: readonly (readonly string[])[];
  readonly directories: readonly string[];
}

async function startHost(options: HostOptions): Promise<Host> {
  const { relays, workers, named } = options;
  const clients = Math.ceil(options.clients / relays);
  // A named one for each process; or one of its own, with the clients of all: an access list has 10,000 names at most.
  const shares =
    workers && named ? Array.from({ length: relays }, () => clients) : [workers ? options.clients : clients];
  const [socket, url] = await listen();
  const state = await openStateDir(await stateDir());
  const { identity } = await loadOrCreateIdentity(state);
  const issuer = relayIssuer(identity, [url]);
  const exits = shares.map((count, i) => ({ count, name: `home${i}`, peer: createIdentity() }));
  const known = named ? undefined : knownClients(issuer, shares[0] ?? 0);
  const list = known?.list ?? exits.map(({ name, peer }) => entryOf(name, peer, 'role = "exit"')).join('\n');
  await state.write(ACCESS_FILE_NAME, list);
  await state.write('limits.toml', limitsOf(sum(shares), named ? shares.length : 0));
  const keeper = await startKeeper(options, socket, ['--state', state.path, '--url', url]);
  if (known !== undefined) return { keeper, exits: [], invites: [known.invites], directories: [state.path] };
  const started: CrowdedExit[] = [];
  for (const exit of exits) started.push(await startCrowdedExit(options, issuer, exit));
  return {
    keeper,
    exits: started.map(({ exit }) => exit),
    invites: started.map(({ invites }) => invites),
    directories: [state.path, ...started.map(({ directory }) => directory)],
  };
}

async function startKeeper(
  { wstun, program, relays, workers, named }: HostOptions,
  socket: Server,
  args: readonly string[],
): Promise<Program> {
  const more = [...(named ? ['--no-exit'] : []), ...(workers ? ['--workers', String(relays)] : [])];
  const relay = [program, wstun, 'relay', ...args, '--json', '--quiet', ...more];
  const command = ['bash', '-c', KEEPER, 'keeper', 'setpriv', '--pdeathsig', 'KILL', '--', ...relay];
  const keeper = Program.run('relay', command, { descriptors: [descriptorOf(socket)] });
  socket.close();
  await keeper.ready(READY_LIMIT_MS);
  return keeper;
}

interface CrowdedExit {
  readonly exit: Program;
  readonly invites: readonly string[];
  readonly directory: string;
}

async function startCrowdedExit(
  { wstun, program }: HostOptions,
  issuer: Issuer,
  { name, peer, count }: { readonly name: string; readonly peer: Identity; readonly count: number },
): Promise<CrowdedExit> {
  const state = await openStateDir(await stateDir());
  const { identity } = await loadOrCreateIdentity(state);
  const { session } = identity.public;
  const { list, invites } = knownClients({ ...issuer, exitSessionKey: session, exitName: name }, count);
  await state.write(ACCESS_FILE_NAME, list);
  const registration = encodeInvite({ ...issuer, peer, role: 'exit', exitName: name });
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

/**
 * As an owner with so many clients sets them: all of them may return in the same second.
 * @param exits named ones; 0: the relay's own
 */
function limitsOf(clients: number, exits: number): string {
  const sessions = clients * SESSIONS_OF_CLIENT;
  // One exit may have four times the links that are free.
  const links = Math.ceil(exits === 0 ? sessions : 2 * sessions * (1 + 1 / (4 * exits))) + SPARE_LINKS;
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
