/**
 * A site from a directory, for strangers: `send` reads and answers (ranges, conditional requests, HEAD). Decided here:
 * which file it is. No file whose name begins with a dot, no list of a directory, and nothing outside of it, also not
 * by a symbolic link.
 */
import { readFile, realpath, stat } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isAbsolute, join, relative, sep } from 'node:path';
import { WstunError } from '../../errors.ts';

export type SiteAnswer = (request: IncomingMessage, response: ServerResponse) => void;

const NOT_FOUND_PAGE = '404.html';
const MAX_PAGE_BYTES = 1024 * 1024;

/** The files may change later; the directory must exist now. @throws WstunError bad-option */
export async function openStaticSite(directory: string): Promise<SiteAnswer> {
  const root = await realpath(directory).catch(() => undefined);
  const found = root === undefined ? undefined : await stat(root).catch(() => undefined);
  if (root === undefined || found?.isDirectory() !== true) {
    const what = root === undefined ? 'does not exist, or cannot be reached' : 'is not a directory';
    throw new WstunError('bad-option', `--decoy: ${directory} ${what}; give a directory, or the URL of a server`);
  }
  // Few relays need it.
  const { default: send } = await import('send');
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      return answerPlain(response, 405, request);
    }
    const path = pathOf(request.url ?? '');
    if (path === undefined || !(await isServed(root, path))) return await answerNotFound(root, request, response);
    send(request, encodeURI(path).replaceAll(/[?#]/g, encodeURIComponent), {
      root,
      dotfiles: 'ignore',
      index: 'index.html',
    })
      .on('error', ({ status }: { readonly status?: number }) => {
        if (status === 404 || status === 403) void answerNotFound(root, request, response);
        else answerPlain(response, status ?? 500, request);
      })
      .pipe(response);
  };
  return (request, response) => void answer(request, response).catch(() => response.destroy());
}

/** Decoded, and with all of RFC 3986's dot segments resolved; undefined if it is no path of a file. */
function pathOf(target: string): string | undefined {
  // RFC 9112 §3.2.2: a server accepts the absolute form, too.
  const text = target.replace(/^https?:\/\/[^/?#]*/i, '').replace(/[?#].*$/s, '') || '/';
  if (!text.startsWith('/')) return undefined;
  try {
    const path = decodeURIComponent(new URL(`http://site${text.replace(/^\/+/, '/')}`).pathname);
    return path.includes('\0') || path.includes('\\') ? undefined : path;
  } catch {
    return undefined;
  }
}

/** A file, or the page of a directory, with both inside of the root. Links are followed where they end there, too. */
async function isServed(root: string, path: string): Promise<boolean> {
  const file = await realpath(join(root, path)).catch(() => undefined);
  if (file === undefined || !isInside(root, file)) return false;
  const found = await stat(file);
  if (!found.isDirectory()) return found.isFile();
  const page = await realpath(join(file, 'index.html')).catch(() => undefined);
  return page !== undefined && isInside(root, page) && (await stat(page)).isFile();
}

function isInside(root: string, file: string): boolean {
  const path = relative(root, file);
  // Of another drive it is absolute.
  return !path.split(sep).some((part) => part.startsWith('.')) && !isAbsolute(path);
}

async function answerNotFound(root: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const page = (await isServed(root, `/${NOT_FOUND_PAGE}`)) ? await readPage(join(root, NOT_FOUND_PAGE)) : undefined;
  if (page === undefined) return answerPlain(response, 404, request);
  response.statusCode = 404;
  response.setHeader('Content-Type', 'text/html; charset=utf-8');
  response.setHeader('Content-Length', page.length);
  response.end(request.method === 'HEAD' ? undefined : page);
}

async function readPage(file: string): Promise<Buffer | undefined> {
  const found = await stat(file).catch(() => undefined);
  if (found === undefined || !found.isFile() || found.size > MAX_PAGE_BYTES) return undefined;
  return await readFile(file).catch(() => undefined);
}

const TEXTS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  412: 'Precondition Failed',
  416: 'Range Not Satisfiable',
};

function answerPlain(response: ServerResponse, status: number, { method }: IncomingMessage): void {
  if (response.headersSent) return void response.destroy();
  const text = TEXTS[status] ?? 'Internal Server Error';
  response.statusCode = TEXTS[status] === undefined ? 500 : status;
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.setHeader('Content-Length', text.length);
  response.end(method === 'HEAD' ? undefined : text);
}
