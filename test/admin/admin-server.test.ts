/** The pages for whoever runs wstun, over real sockets. */
import { expect, it, onTestFinished } from 'vitest';
import { type AdminPages, AdminServer } from '../../src/admin/admin-server.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { collectingLogger } from '../support/collecting-logger.ts';
import { rawExchange } from '../support/proxy/raw-http.ts';

const LOOPBACK = { host: '127.0.0.1', port: 0 };
const PAGES: AdminPages = {
  whyNotReady: () => undefined,
  metrics: async () => ({ type: 'text/plain; version=0.0.4; charset=utf-8', text: 'wstun_sessions 1\n' }),
};

async function start(pages: Partial<AdminPages> = {}, logger = silentLogger): Promise<number> {
  const server = new AdminServer({ ...PAGES, ...pages }, logger);
  onTestFinished(() => server.close());
  return (await server.listen(LOOPBACK)).port;
}

async function ask(request: string, pages: Partial<AdminPages> = {}): Promise<string> {
  return (await rawExchange(await start(pages), request)).bytes;
}

const get = (path: string, method = 'GET'): string =>
  `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;

it.each(['127.0.0.1', '127.0.0.1:9000', 'localhost', 'localhost:1', '[::1]:9000', '[::1]', '192.0.2.7', 'LOCALHOST'])(
  'the health page says ok to Host: %s',
  async (host) => {
    const answer = await ask(`GET /healthz HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1.1 200 OK\r\n[\s\S]*ok\n/);
  },
);

it.each(
  ['/healthz', '/readyz', '/metrics'].flatMap((path): [string, string][] => [
    ['another host', `GET ${path} HTTP/1.1\r\nHost: evil.example`],
    ['a name that begins like an address', `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1.evil.example`],
    ['an empty host', `GET ${path} HTTP/1.1\r\nHost:`],
    ['another path', `GET ${path}/ HTTP/1.1\r\nHost: localhost`],
    ['a query', `GET ${path}?x HTTP/1.1\r\nHost: localhost`],
    ['POST', `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0`],
  ]),
)('the admin server answers 404 for %s: %s', async (_what, request) => {
  expect(await ask(`${request}\r\nConnection: close\r\n\r\n`)).toMatch(/^HTTP\/1.1 404 /);
});

it('the pages answer a probe by HTTP/1.0, which names no host', async () => {
  expect(await ask('GET /readyz HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1.1 200 /);
});

it('the readiness page says in one line why it is not ready, and that it is', async () => {
  let why: string | undefined = 'draining';
  const port = await start({ whyNotReady: () => why });
  const { bytes: before } = await rawExchange(port, get('/readyz'));
  expect(before).toMatch(/^HTTP\/1.1 503 [\s\S]*\r\n\r\nnot ready: draining\n$/);
  why = undefined;
  const { bytes: after } = await rawExchange(port, get('/readyz'));
  expect(after).toMatch(/^HTTP\/1.1 200 [\s\S]*\r\n\r\nready\n$/);
});

it('the metrics page has the type that Prometheus asks for, and HEAD has its headers alone', async () => {
  const port = await start();
  const { bytes } = await rawExchange(port, get('/metrics'));
  expect(bytes).toContain('Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n');
  expect(bytes).toMatch(/\r\n\r\nwstun_sessions 1\n$/);
  const { bytes: head } = await rawExchange(port, get('/metrics', 'HEAD'));
  expect(head).toMatch(/^HTTP\/1.1 200 [\s\S]*Content-Length: 17\r\n[\s\S]*\r\n\r\n$/);
});

it('metrics that are asked for while others are read are the same reading', async () => {
  let readings = 0;
  let finish = (): void => {};
  const reading = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const port = await start({
    metrics: async () => {
      readings += 1;
      await reading;
      return { type: 'text/plain', text: 'x 1\n' };
    },
  });
  const asked = [1, 2, 3].map(() => rawExchange(port, get('/metrics')));
  // Another page is answered meanwhile, so that all three have come.
  await rawExchange(port, get('/healthz'));
  finish();
  for (const { bytes } of await Promise.all(asked)) expect(bytes).toMatch(/^HTTP\/1.1 200 /);
  expect(readings).toBe(1);
});

it('metrics that cannot be read are a 500, and the log says why', async () => {
  const { logger, lines } = collectingLogger();
  const port = await start({ metrics: () => Promise.reject(new Error('broken')) }, logger);
  const { bytes } = await rawExchange(port, get('/metrics'));
  expect(bytes).toMatch(/^HTTP\/1.1 500 /);
  expect(bytes).not.toContain('broken');
  expect(JSON.stringify(lines)).toContain('broken');
});

it('the admin server says which option gives another address where something else listens', async () => {
  const port = await start();
  const server = new AdminServer(PAGES, silentLogger);
  await expect(server.listen({ host: '127.0.0.1', port })).rejects.toMatchObject({
    fault: 'cannot-listen',
    fix: expect.stringContaining(`--admin 127.0.0.1:${port + 1}`),
  });
});
