/** Other programs that do what wstun does: how each is started between the load and its target, as it comes. */
import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Program } from './programs.ts';
import type { Subject } from './subjects.ts';

const START_LIMIT_MS = 10_000;
const POLL_MS = 20;

interface Place {
  /** Where the one near the load has its SOCKS5 proxy. */
  readonly near: number;
  /** Where the other one listens. */
  readonly far: number;
  /** Empty, for files. */
  readonly directory: string;
}

export interface Peer {
  readonly name: string;
  /** What must be found on PATH. */
  readonly programs: readonly string[];
  readonly version: readonly string[];
  readonly halfCloses: boolean;
  prepare?(place: Place): Promise<void>;
  /** Program and arguments. */
  near(place: Place): readonly string[];
  far(place: Place): readonly string[];
}

const PEERS: readonly Peer[] = [
  // https://github.com/erebe/wstunnel: it copies each direction to its end, but closes the WebSocket at the first.
  ...(['ws', 'wss'] as const).map(
    (scheme): Peer => ({
      name: `wstunnel, ${scheme}`,
      programs: ['wstunnel'],
      version: ['wstunnel', '--version'],
      halfCloses: false,
      // Without a line of log for each connection, as the others.
      far: ({ far }) => ['wstunnel', 'server', '--log-lvl', 'WARN', `${scheme}://127.0.0.1:${far}`],
      near: ({ near, far }) => [
        ...['wstunnel', 'client', '--log-lvl', 'WARN'],
        ...['-L', `socks5://127.0.0.1:${near}`, `${scheme}://127.0.0.1:${far}`],
      ],
    }),
  ),
  {
    // https://github.com/jpillora/chisel: SSH inside the WebSocket, so it is encrypted.
    name: 'chisel, ws',
    programs: ['chisel'],
    version: ['chisel', '--version'],
    halfCloses: false,
    far: ({ far }) => ['chisel', 'server', '--host', '127.0.0.1', '--port', String(far), '--socks5'],
    near: ({ near, far }) => ['chisel', 'client', `http://127.0.0.1:${far}`, `127.0.0.1:${near}:socks`],
  },
  {
    // https://github.com/myzhang1029/penguin-rs
    name: 'penguin, ws',
    programs: ['penguin'],
    version: ['penguin', '--version'],
    halfCloses: true,
    far: ({ far }) => ['penguin', '--quiet', 'server', '--host', '127.0.0.1', '--port', String(far)],
    near: ({ near, far }) => ['penguin', '--quiet', 'client', `ws://127.0.0.1:${far}`, `127.0.0.1:${near}:socks`],
  },
  {
    name: 'ssh -D',
    programs: ['ssh', 'sshd', 'ssh-keygen'],
    version: ['ssh', '-V'],
    halfCloses: true,
    prepare: prepareSsh,
    // It insists on its absolute path.
    far: ({ directory }) => [find('sshd') ?? 'sshd', '-D', '-e', '-f', join(directory, 'sshd_config')],
    near: ({ near, far, directory }) => [
      ...['ssh', '-F', 'none', '-N', '-D', `127.0.0.1:${near}`, '-p', String(far)],
      ...sshOptions(directory),
      `${userInfo().username}@127.0.0.1`,
    ],
  },
];

function sshOptions(directory: string): string[] {
  const options = {
    IdentityFile: join(directory, 'user_key'),
    IdentitiesOnly: 'yes',
    UserKnownHostsFile: join(directory, 'known_hosts'),
    StrictHostKeyChecking: 'accept-new',
    BatchMode: 'yes',
    ExitOnForwardFailure: 'yes',
    LogLevel: 'ERROR',
  };
  return Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

/** Keys for this run alone, and a configuration that admits who runs the benchmark. */
async function prepareSsh({ far, directory }: Place): Promise<void> {
  const key = (name: string): string => join(directory, name);
  for (const name of ['host_key', 'user_key'])
    await promisify(execFile)('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key(name)]);
  await copyFile(key('user_key.pub'), key('authorized_keys'));
  const configuration = [
    `ListenAddress 127.0.0.1:${far}`,
    `HostKey ${key('host_key')}`,
    `AuthorizedKeysFile ${key('authorized_keys')}`,
    'PidFile none',
    // The directory of the keys is in /tmp.
    'StrictModes no',
    'UsePAM no',
    'PermitRootLogin prohibit-password',
    'PasswordAuthentication no',
  ];
  await writeFile(key('sshd_config'), `${configuration.join('\n')}\n`);
  // The package's service makes it at boot, which never happened in a container.
  if (userInfo().uid === 0) await mkdir('/run/sshd', { recursive: true });
}

/** The path of a program; servers' may lie where a user's PATH does not look. */
function find(program: string): string | undefined {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return directories.map((directory) => join(directory, program)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Those that are here; `note` hears of the others. */
export function findPeers({ note }: { readonly note: (text: string) => void }): Peer[] {
  return PEERS.filter(({ name, programs }) => {
    const missing = programs.filter((program) => find(program) === undefined);
    if (missing.length > 0) note(`${name}: skipped, no ${missing.join(', no ')} on PATH`);
    return missing.length === 0;
  });
}

/** What each says of its version. */
export async function versionOf({ version: [program = '', ...args] }: Peer): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(program, args);
  return (stdout + stderr).trim().split('\n')[0] ?? '';
}

export async function startPeer(peer: Peer, target: number): Promise<Subject> {
  const directory = await mkdtemp(join(tmpdir(), 'wstun-bench-'));
  const place = { near: await freePort(), far: await freePort(), directory };
  await peer.prepare?.(place);
  const started: Program[] = [];
  const stop = async (): Promise<void> => {
    for (const program of started.reverse()) await program.stop();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    const far = Program.run(`${peer.name} server`, peer.far(place));
    started.push(far);
    await isListening(place.far);
    const near = Program.run(`${peer.name} client`, peer.near(place));
    started.push(near);
    await isListening(place.near);
    return { name: peer.name, via: place.near, target, programs: [near, far], halfCloses: peer.halfCloses, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** For programs that cannot be told to choose a port themselves. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function isListening(port: number): Promise<void> {
  for (let waited = 0; waited < START_LIMIT_MS; waited += POLL_MS) {
    const accepted = await new Promise<boolean>((resolve) => {
      const probe = connect(port, '127.0.0.1', () => resolve(true));
      probe.once('error', () => resolve(false));
      probe.once('connect', () => probe.destroy());
    });
    if (accepted) return;
    await delay(POLL_MS);
  }
  throw new Error(`nobody listens on port ${port}`);
}
