/**
 * A registry of npm packages with what is installed in this repository, and nothing else: npm installs from it as from
 * the public one, and the test reaches no network. Tarballs are made anew, so that their checksums are not those of the
 * lock file.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { atEnd } from '../scope.ts';

const ROOT = join(import.meta.dirname, '../../..');

type Manifest = Readonly<Record<string, unknown>> & { readonly version: string };
interface LockFile {
  readonly packages: Readonly<
    Record<string, { readonly version: string; readonly optional?: true; integrity?: string }>
  >;
}
interface Installed {
  readonly name: string;
  readonly version: string;
  readonly folder: string;
}

/** Of optional packages, which npm can do without, 140 MB of compiled programs that only checks and tests start. */
const LEFT_OUT = /^(?:@biomejs\/cli-|@rolldown\/binding-|@oxc-(?:parser|resolver)\/binding-|lightningcss-)/;

/** Until the test, or the file, is over. @returns its URL at an address of the test */
export async function startNpmRegistry(address: string): Promise<string> {
  const packages = installed();
  let url = '';
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? '').slice(1);
    const [name = '', file] = path.split('/-/');
    const versions = packages.filter((each) => each.name === name);
    const one = versions.find((each) => file === fileName(each));
    if (one !== undefined) return sendTarball(one, response);
    if (versions.length === 0 || file !== undefined) return void response.writeHead(404).end('{}');
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(describePackage(name, versions, url)));
  }).listen(0, address);
  await once(server, 'listening');
  atEnd(() => [server.close(), server.closeAllConnections()]);
  url = `http://${address}:${(server.address() as AddressInfo).port}/`;
  return url;
}

/** The lock file, without the checksums of the public registry's tarballs. */
export function lockWithoutChecksums(): string {
  const lock = readLock();
  for (const each of Object.values(lock.packages)) delete each.integrity;
  return JSON.stringify(lock);
}

const readLock = () => JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as LockFile;

function installed(): readonly Installed[] {
  return Object.entries(readLock().packages).flatMap(([path, { version, optional }]) => {
    const name = path.split('node_modules/').at(-1) ?? '';
    const folder = join(ROOT, path);
    // Of other systems, and then npm goes on without them.
    const isLeftOut = optional === true && (LEFT_OUT.test(name) || !existsSync(folder));
    return name === '' || isLeftOut ? [] : [{ name, version, folder }];
  });
}

const fileName = ({ name, version }: Installed) => `${name.replace(/^.*\//, '')}-${version}.tgz`;

function describePackage(name: string, versions: readonly Installed[], url: string): object {
  const manifests = versions.map((each) => {
    const manifest = JSON.parse(readFileSync(join(each.folder, 'package.json'), 'utf8')) as Manifest;
    return [each.version, { ...manifest, dist: { tarball: `${url}${name}/-/${fileName(each)}` } }] as const;
  });
  return { name, 'dist-tags': { latest: versions[0]?.version }, versions: Object.fromEntries(manifests) };
}

function sendTarball({ folder }: Installed, response: ServerResponse): void {
  const args = ['-C', `${folder}/`, '--exclude=./node_modules', '--transform', 's,^[.],package,', '-c', '.'];
  const tar = spawn('tar', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  response.on('close', () => tar.kill());
  tar.stdout.pipe(response);
}
