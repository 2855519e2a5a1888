/**
 * Visitors of a site from a directory who send many requests at once. @module-tag waits
 */
import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { openStaticSite } from '../../../src/relay/site/static-site.ts';
import { startHttpLinkServer } from '../../support/links/http-pair.ts';
import { openRaw, readUntil } from '../../support/proxy/raw-http.ts';
import { tempDir } from '../../support/temp-dir.ts';

async function start() {
  const directory = await tempDir();
  await writeFile(join(directory, 'index.html'), 'the page');
  for (let i = 0; i < 100; i++) await writeFile(join(directory, `${i}.txt`), `page ${i};`);
  const server = await startHttpLinkServer({ decoy: await openStaticSite(directory), hasVisitors: true });
  onTestFinished(() => server.close());
  return { port: server.port, directory };
}

const get = (path: string): string => `GET /${path} HTTP/1.1\r\nHost: a\r\n\r\n`;

it('a visitor of a directory gets a hundred pages that he asks for at once, in order', async () => {
  const { port } = await start();
  const socket = openRaw(port);
  onTestFinished(() => void socket.destroy());
  socket.write(Array.from({ length: 100 }, (_, i) => get(`${i}.txt`)).join(''));
  const got = await readUntil(socket, 'page 99;');
  expect([...got.matchAll(/page (\d+);/g)].map(([, i]) => Number(i))).toEqual(Array.from({ length: 100 }, (_, i) => i));
});

it('a visitor of a directory who asks without end is cut, and the next one gets his page', async () => {
  const { port } = await start();
  const socket = openRaw(port);
  socket.on('error', () => {});
  onTestFinished(() => void socket.destroy());
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.resume();
  socket.write(get('').repeat(40_000));
  await closed;
  const next = openRaw(port);
  onTestFinished(() => void next.destroy());
  next.write(get(''));
  await readUntil(next, 'the page');
});

it('a relay serves files alone of a directory: a named pipe would hold its thread until someone writes', async () => {
  const { port, directory } = await start();
  execFileSync('mkfifo', [join(directory, 'pipe')]);
  for (let i = 0; i < 5; i++) {
    const socket = openRaw(port);
    onTestFinished(() => void socket.destroy());
    socket.write(get('pipe'));
    expect(await readUntil(socket, '\r\n\r\n')).toMatch(/^HTTP\/1\.1 404 /);
  }
});
