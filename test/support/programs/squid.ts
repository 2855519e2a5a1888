/**
 * squid as a company's proxy: with a configuration of its own, in a temporary directory, in the foreground. It knows
 * names that nobody else does, asks for credentials in the given schemes, and logs what it was asked for.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempDir } from '../temp-dir.ts';
import { freePort, runWell, startServer } from './programs.ts';

export type SquidScheme = 'basic' | 'digest' | 'ntlm' | 'negotiate';

export interface SquidOptions {
  /** Default: a free one. */
  readonly port?: number;
  /** Names, and the IPv4 address of each. */
  readonly hosts?: Readonly<Record<string, string>>;
  /** In the order in which it offers them. `ntlm` takes any password but an empty one. Default: none is needed. */
  readonly schemes?: readonly SquidScheme[];
  readonly users?: Readonly<Record<string, string>>;
  /** CONNECT to other ports is answered 403. Default: all are allowed. */
  readonly ports?: readonly number[];
  /** Further lines of its configuration, before its rules. */
  readonly lines?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface Squid {
  readonly port: number;
  /** One line for each request so far: status, method, target, user name. */
  accessLog(): string[];
  /** From now on these are its users. */
  setUsers(users: Readonly<Record<string, string>>): Promise<void>;
  /** Ends all tunnels, and begins anew at the same port. */
  restart(): Promise<void>;
}

const HELPERS = '/usr/lib/squid';
const REALM = 'company network';

export async function startSquid(options: SquidOptions = {}): Promise<Squid> {
  const dir = await tempDir();
  // Started by root, it becomes another user, who writes its logs.
  await chmod(dir, 0o777);
  const port = options.port ?? (await freePort());
  const file = join(dir, 'squid.conf');
  const hosts = Object.entries(options.hosts ?? {}).map(([name, address]) => `${address} ${name}\n`);
  const setUsers = async (users: Readonly<Record<string, string>>): Promise<void> => {
    await writePasswords(join(dir, 'passwd'), users);
    const lines = Object.entries(users).map(([user, password]) => `${user}:${REALM}:${digestSecret(user, password)}\n`);
    await writeFile(join(dir, 'digests'), (await Promise.all(lines)).join(''));
  };
  await setUsers(options.users ?? {});
  await writeFile(join(dir, 'hosts'), hosts.join(''));
  await writeFile(file, configuration(dir, port, options));
  // Its name is that of its shared memory, which it removes when it is told to end.
  const name = `wstun${process.pid}x${port}`;
  const start = () =>
    startServer('squid', ['-N', '-d', '0', '-n', name, '-f', file], port, {
      end: 'SIGTERM',
      env: options.env ?? {},
    });
  let server = await start();
  const accessLog = () => readFileSync(join(dir, 'access.log'), 'latin1').split('\n').filter(Boolean);
  const restart = async (): Promise<void> => {
    await server.end();
    server = await start();
  };
  return { port, accessLog, setUsers, restart };
}

async function writePasswords(file: string, users: Readonly<Record<string, string>>): Promise<void> {
  const lines = Object.entries(users).map(async ([user, password]) => {
    const hash = await runWell('openssl', ['passwd', '-apr1', '-stdin'], { input: password });
    return `${user}:${hash.trim()}\n`;
  });
  await writeFile(file, (await Promise.all(lines)).join(''));
}

function digestSecret(user: string, password: string): string {
  return createHash('md5').update(`${user}:${REALM}:${password}`).digest('hex');
}

function configuration(dir: string, port: number, { schemes = [], ports, lines = [] }: SquidOptions): string {
  return `
http_port 127.0.0.1:${port}
pid_filename none
cache deny all
cache_mem 1 MB
cache_log ${dir}/cache.log
coredump_dir ${dir}
logformat short %>Hs %rm %ru %un
access_log stdio:${dir}/access.log short
buffered_logs off
hosts_file ${dir}/hosts
dns_nameservers 127.0.0.1
dns_timeout 2 seconds
connect_timeout 2 seconds
shutdown_lifetime 0 seconds
pinger_enable off
netdb_filename none
${schemes.map((scheme) => AUTHENTICATION[scheme](dir)).join('\n')}
${lines.join('\n')}
${ports === undefined ? '' : `acl allowed_ports port ${ports.join(' ')}\nhttp_access deny CONNECT !allowed_ports`}
${schemes.length === 0 ? 'http_access allow all' : 'acl known proxy_auth REQUIRED\nhttp_access allow known'}
http_access deny all
`;
}

const AUTHENTICATION: Readonly<Record<SquidScheme, (dir: string) => string>> = {
  basic: (dir) => `auth_param basic program ${HELPERS}/basic_ncsa_auth ${dir}/passwd
auth_param basic children 1
auth_param basic credentialsttl 1 second
auth_param basic realm ${REALM}`,
  digest: (dir) => `auth_param digest program ${HELPERS}/digest_file_auth -c ${dir}/digests
auth_param digest children 1
auth_param digest realm ${REALM}`,
  ntlm: () => `auth_param ntlm program ${HELPERS}/ntlm_fake_auth
auth_param ntlm children 1
auth_param ntlm keep_alive on`,
  negotiate: () => `auth_param negotiate program ${HELPERS}/negotiate_kerberos_auth
auth_param negotiate children 1
auth_param negotiate keep_alive on`,
};
