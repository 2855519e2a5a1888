/** `git http-backend`, git's own HTTP server, as the CGI program that it is (RFC 3875). */
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { payload } from '../payload.ts';
import { atEnd } from '../scope.ts';
import { tempDir } from '../temp-dir.ts';
import { runWell, spawnBound } from './programs.ts';

export interface GitServer {
  readonly port: number;
  /** The commit that `repo.git` ends at; its file `blob` has `blob`'s bytes. */
  readonly head: string;
  readonly blob: Buffer;
}

export async function startGitServer(): Promise<GitServer> {
  const dir = await tempDir();
  const work = join(dir, 'work');
  await mkdir(work);
  const git = async (...args: string[]) =>
    (await runWell('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', ...args], { cwd: work })).trim();
  // What does not compress, so that the pack really travels.
  const blob = payload(3 * 1024 * 1024, 5);
  await git('init', '-q', '-b', 'main');
  await writeFile(join(work, 'blob'), blob);
  await git('add', '.');
  await git('commit', '-q', '-m', 'one');
  await git('clone', '-q', '--bare', work, join(dir, 'repo.git'));
  const server = createServer((request, response) => serve(dir, request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEnd(() => [server.close(), server.closeAllConnections()]);
  return { port: (server.address() as AddressInfo).port, head: await git('rev-parse', 'HEAD'), blob };
}

function serve(root: string, request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const cgi = spawnBound('git', ['http-backend'], {
    env: {
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      REQUEST_METHOD: request.method ?? 'GET',
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      REMOTE_ADDR: '127.0.0.1',
    },
  });
  if (cgi.stdin) request.pipe(cgi.stdin);
  const answer: Buffer[] = [];
  cgi.stdout?.on('data', (chunk: Buffer) => answer.push(chunk));
  cgi.on('close', () => {
    const whole = Buffer.concat(answer);
    const end = whole.indexOf('\r\n\r\n');
    const headers = new Map(
      whole
        .toString('latin1', 0, Math.max(end, 0))
        .split('\r\n')
        .map((line) => line.split(': ') as [string, string]),
    );
    response.writeHead(Number.parseInt(headers.get('Status') ?? '200', 10), {
      'Content-Type': headers.get('Content-Type') ?? '',
    });
    response.end(whole.subarray(end + 4));
  });
}
