/** Network namespaces, and wires between them. Needs root, and says so where it is not. */
import { run, runWell } from '../programs/programs.ts';
import { atEnd } from '../scope.ts';

export const ip = (...args: string[]): Promise<string> => runWell('ip', args);

/** In front of a command that is to run there. */
export const within = (namespace: string): readonly string[] => ['ip', 'netns', 'exec', namespace];

/** Has a loopback, and lasts until the test, or the file, is over. */
export async function addNamespace(name: string): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('this test makes network namespaces, for which it must run as root');
  await ip('netns', 'add', name);
  atEnd(() => run('ip', ['netns', 'delete', name]));
  await ip('-n', name, 'link', 'set', 'lo', 'up');
}

interface WireEnd {
  /** Default: the test's own. */
  readonly namespace?: string;
  readonly name: string;
  readonly address: string;
}

export async function wire(a: WireEnd, b: WireEnd): Promise<void> {
  await ip('link', 'add', a.name, 'type', 'veth', 'peer', 'name', b.name);
  for (const { namespace, name, address } of [a, b]) {
    const at = namespace === undefined ? [] : ['-n', namespace];
    if (namespace !== undefined) await ip('link', 'set', name, 'netns', namespace);
    await ip(...at, 'address', 'add', `${address}/24`, 'dev', name);
    await ip(...at, 'link', 'set', name, 'up');
  }
}
