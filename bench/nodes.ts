/** The releases of Node that wstun is measured on. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

export interface Node {
  readonly program: string;
  /** `process.versions` of that program. */
  readonly versions: Readonly<Record<string, string>>;
  /** Behind the name of what runs on it; empty where there is only the one at hand. */
  readonly suffix: string;
}

/** Each of `options` is a path, or several with commas between them; without any it is the Node at hand. */
export async function findNodes(options: readonly string[]): Promise<Node[]> {
  if (options.length === 0)
    return [{ program: process.execPath, versions: readVersions(process.versions), suffix: '' }];
  const paths = options.flatMap((option) => option.split(',')).filter((path) => path !== '');
  return await Promise.all(paths.map(findNode));
}

async function findNode(program: string): Promise<Node> {
  const script = 'JSON.stringify(process.versions)';
  const { stdout } = await promisify(execFile)(program, ['-p', script]).catch((error: unknown) => {
    throw new Error(`${program} is no Node: ${String(error)}`);
  });
  const versions = readVersions(JSON.parse(stdout) as NodeJS.ProcessVersions);
  return { program, versions, suffix: ` on ${versions.node}` };
}

function readVersions({ node, v8, openssl }: NodeJS.ProcessVersions): Node['versions'] {
  return { node, v8, openssl };
}

/** Whether it can give the memory of a buffer back before a collection. */
export function canGiveBack({ versions: { node = '' } }: Node): boolean {
  return Number.parseInt(node, 10) >= 22;
}
