import { createServer, type RequestListener } from 'node:http';
import { describe, expect, it, onTestFinished } from 'vitest';
import { findLoginPage } from '../../src/transport/login-page.ts';
import { closedPort } from '../support/net/tcp.ts';
import { never } from '../support/never.ts';
import { freePort } from '../support/programs/programs.ts';

/** What is found where a network answers for the relay at port 80 like that. */
async function foundWhere(answer: RequestListener, scheme = 'wss') {
  const server = createServer(answer);
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const error = await findLoginPage(`${scheme}://127.0.0.1:4433/path`, { signal: never, port });
  return error && `${error.code} ${error.message}`.replaceAll(String(port), 'PORT');
}

describe('the search for a login page', () => {
  it('names the place to which plain HTTP to the relay leads, without its path', async () => {
    const asked: string[] = [];
    const found = await foundWhere((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      response.writeHead(302, { location: 'http://login.hotel.example:8000/guest?token=secret' }).end();
    });
    expect(found).toContain('http://127.0.0.1:PORT/ leads to http://login.hotel.example:8000/');
    expect(found).toContain('Open http://login.hotel.example:8000/ in a browser');
    expect(found).not.toContain('secret');
    expect(asked).toEqual(['GET /']);
  });

  it('names the page itself where the answer is 511', async () => {
    const found = await foundWhere((_request, response) => response.writeHead(511).end('log in'));
    expect(found).toContain('Open http://127.0.0.1:PORT/ in a browser');
  });

  it.each<[string, RequestListener]>([
    [
      'a web server sends to https of its own name',
      (_, to) => to.writeHead(301, { location: 'https://127.0.0.1/' }).end(),
    ],
    ['there is a page', (_, to) => to.writeHead(200).end('welcome')],
    ['the redirect is no URL', (_, to) => to.writeHead(302, { location: 'javascript:alert(1)' }).end()],
    ['the redirect has no place', (_, to) => to.writeHead(302).end()],
    ['the connection is cut', (request) => request.socket.destroy()],
  ])('finds nothing where %s', async (_what, answer) => {
    expect(await foundWhere(answer)).toBeUndefined();
  });

  it('asks nothing for a relay without TLS, whose answer was seen already', async () => {
    let asked = 0;
    const redirect: RequestListener = (_, to) => {
      asked += 1;
      to.writeHead(302, { location: 'http://login.hotel.example/' }).end();
    };
    expect(await foundWhere(redirect, 'ws')).toBeUndefined();
    expect(asked).toBe(0);
  });

  it('finds nothing where nobody listens', async () => {
    const options = { signal: never, port: await closedPort() };
    expect(await findLoginPage('wss://127.0.0.1:1/', options)).toBeUndefined();
  });
});
