/** Where no WebSocket gets through: a browser carries the links by ordinary requests. */
import { createServer, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { expect, it } from 'vitest';
import { ja4 } from '../support/net/ja4.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { invite, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { atEnd } from '../support/scope.ts';
import { Phone } from '../support/tether/phone.ts';
import { proxyPort } from '../support/tether/tethered.ts';
import { START_LIMIT_MS, spawnViaBrowser } from '../support/tether/via-browser.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;

/** Forwards requests as they are, and answers upgrades with 403. */
async function proxyWithoutUpgrades(relayPort: number): Promise<{ port: number; methods: string[] }> {
  const methods: string[] = [];
  const server = createServer((incoming, outgoing) => {
    const { method = '', url, headers } = incoming;
    methods.push(method);
    const onward = request({ host: '127.0.0.1', port: relayPort, method, path: url, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers).flushHeaders();
      answer.pipe(outgoing);
    });
    onward.on('error', () => outgoing.destroy());
    outgoing.on('close', () => onward.destroy());
    incoming.pipe(onward);
  });
  server.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(() => void server.close().closeAllConnections());
  return { port: (server.address() as AddressInfo).port, methods };
}

/** Forwards a connection if its TLS greeting passes, and resets it otherwise. */
async function greetingFilter(relayPort: number, passes: (greeting: string) => boolean) {
  const greetings: string[] = [];
  const port = await tcpServer((near) => {
    near.once('data', (first: Buffer) => {
      const greeting = ja4(first);
      greetings.push(greeting);
      if (!passes(greeting)) return void near.resetAndDestroy();
      const far = connect({ host: '127.0.0.1', port: relayPort, noDelay: true });
      far.on('error', () => near.destroy());
      near.on('close', () => far.destroy());
      atEnd(() => far.destroy());
      far.write(first);
      near.pipe(far).pipe(near);
    });
  });
  return { port, greetings };
}

it('a browser behind a proxy that refuses upgrades carries by requests, without asking for leave', async () => {
  const relay = await startRelay();
  const proxy = await proxyWithoutUpgrades(relay.port);
  const secret = await invite(relay, 'laptop', { allow: ['*'], url: `ws://127.0.0.1:${proxy.port}` });
  const { client } = await spawnViaBrowser(secret);
  const socket = await connectThrough('SOCKS5', await proxyPort(client, START_LIMIT_MS), await tcpServer(echo));
  const { sent, received } = await exchange(socket, 2 * MIB, 1);
  expect(received).toEqual({ bytes: 2 * MIB, hash: sent });
  // No preflight (OPTIONS): the requests are simple ones.
  expect(new Set(proxy.methods)).toEqual(new Set(['GET', 'POST']));
});

it('where a filter knows the greeting of WebSockets, links have that of an ordinary visit', async () => {
  const relay = await startRelay({ args: ['--tls-self-signed', '--url', 'wss://localhost'] });
  const filter = await greetingFilter(relay.port, (greeting) => greeting.includes('h2_'));
  const secret = await invite(relay, 'laptop', { allow: ['*'], url: `wss://localhost:${filter.port}` });
  const { client } = await spawnViaBrowser(secret);
  await client.event('ready', START_LIMIT_MS);
  const ofLink = filter.greetings.find((greeting) => greeting.includes('h2_'));
  const visited = await greetingFilter(relay.port, () => true);
  const phone = await Phone.start({ args: ['--ignore-certificate-errors'] });
  await phone.open(`https://localhost:${visited.port}/`);
  await until(() => visited.greetings.length > 0, START_LIMIT_MS);
  expect(ofLink).toBe(visited.greetings[0]);
});
