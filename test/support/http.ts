/** Web servers and requests for the tests of the proxy's HTTP side. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import type { Client } from './net/tcp.ts';

/** A web server until the test is over. */
export async function webServer(
  answer: RequestListener,
  prepare: (server: Server) => void = () => {},
): Promise<number> {
  const server = createServer(answer);
  prepare(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

/** The status line and headers, and a body of the length they tell. */
export async function readAnswer(client: Client): Promise<{ head: string; body: string }> {
  const head = await client.takeUntil('\r\n\r\n');
  const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
  return { head, body: (await client.take(length)).toString('latin1') };
}

export const get = (path: string, ...headers: string[]) =>
  `${[`GET http://example.com${path} HTTP/1.1`, 'Host: example.com', ...headers].join('\r\n')}\r\n\r\n`;
