/**
 * A small internet: machines in network namespaces of their own, with public addresses, and the test, which is all the
 * rest of it. Each machine knows the names that its hosts file has, and no name server answers it. Needs root, and says
 * so where it is not.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../programs/programs.ts';
import { atEnd } from '../scope.ts';
import { addNamespace, ip, within } from './namespaces.ts';

/** Of public addresses, as an exit connects to no others. Nothing of it leaves the namespaces. */
const NETWORK = 8;
const OWN_ADDRESS = '51.0.0.1';

export interface Machine {
  /** In front of a command that is to run there. */
  readonly within: readonly string[];
  readonly address: string;
}

export interface MachineOptions {
  readonly address: string;
  /** Address to names. */
  readonly hosts?: Readonly<Record<string, string>>;
  /** In the place of files in /etc: path below it, and content. */
  readonly files?: Readonly<Record<string, string>>;
}

export interface SmallInternet {
  /** Of the test. */
  readonly address: string;
  /** Until the test, or the file, is over, with all that runs there. */
  addMachine(options: MachineOptions): Promise<Machine>;
}

export async function startSmallInternet(): Promise<SmallInternet> {
  const id = randomBytes(2).toString('hex');
  const bridge = `net${id}`;
  await ip('link', 'add', bridge, 'type', 'bridge');
  atEnd(() => run('ip', ['link', 'delete', bridge]));
  await ip('address', 'add', `${OWN_ADDRESS}/${NETWORK}`, 'dev', bridge);
  await ip('link', 'set', bridge, 'up');
  let count = 0;
  const addMachine = async ({ address, hosts = {}, files = {} }: MachineOptions): Promise<Machine> => {
    count += 1;
    const [namespace, port] = [`m${id}${count}`, `port${id}${count}`];
    await addFiles(namespace, {
      hosts: [`127.0.0.1 localhost`, ...Object.entries(hosts).map((pair) => pair.join(' ')), ''].join('\n'),
      'resolv.conf': `nameserver ${OWN_ADDRESS}\n`,
      ...files,
    });
    await addNamespace(namespace);
    atEnd(() => endAllIn(namespace));
    await ip('link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
    await ip('link', 'set', port, 'master', bridge, 'up');
    await ip('-n', namespace, 'address', 'add', `${address}/${NETWORK}`, 'dev', 'eth0');
    await ip('-n', namespace, 'link', 'set', 'eth0', 'up');
    return { within: within(namespace), address };
  };
  return { address: OWN_ADDRESS, addMachine };
}

/** `ip netns exec` mounts what is there over /etc. */
async function addFiles(namespace: string, files: Readonly<Record<string, string>>): Promise<void> {
  const folder = `/etc/netns/${namespace}`;
  atEnd(() => rm(folder, { recursive: true, force: true }));
  for (const [path, content] of Object.entries(files)) {
    await mkdir(join(folder, path, '..'), { recursive: true });
    await writeFile(join(folder, path), content);
  }
}

/** A program that has left its terminal outlives the one that started it. */
async function endAllIn(namespace: string): Promise<void> {
  const { stdout } = await run('ip', ['netns', 'pids', namespace]);
  const pids = stdout.split('\n').filter(Boolean);
  if (pids.length > 0) await run('kill', ['-KILL', ...pids]);
}
