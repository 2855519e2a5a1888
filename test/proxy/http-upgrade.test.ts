import { describe, expect, it } from 'vitest';
import { get, readAnswer, webServer } from '../support/http.ts';
import { Client, tcpServer } from '../support/net/tcp.ts';
import { proxyTo } from '../support/proxy/proxy.ts';
import { until } from '../support/until.ts';

describe('an upgrade in absolute-form', () => {
  const upgrade = (scheme: string) =>
    `GET ${scheme}://h/chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;

  it.each(['ws', 'http'])('an upgrade of a %s:// URL becomes a tunnel when the target agrees', async (scheme) => {
    const target = await webServer(
      () => {},
      (server) =>
        server.on('upgrade', (request, socket) => {
          socket.write(`HTTP/1.1 101 OK\r\nUpgrade: ${request.headers.upgrade}\r\nConnection: Upgrade\r\n\r\nhello `);
          socket.pipe(socket);
        }),
    );
    const { port } = await proxyTo(target);
    const client = new Client(port).send(`${upgrade(scheme)}early `);
    expect(await client.takeUntil('\r\n\r\n')).toMatch(/^HTTP\/1\.1 101 OK\r\nUpgrade: websocket\r\n/);
    client.socket.end('late');
    expect(await client.rest()).toBe('hello early late');
  });

  it('an upgrade delivers what both sides send early, although both end then', async () => {
    const heard: Buffer[] = [];
    const target = await tcpServer((socket) => {
      socket.on('data', (chunk) => heard.push(chunk));
      socket.once('data', () => socket.end('HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello'));
    });
    const { port } = await proxyTo(target);
    const client = new Client(port);
    client.socket.end(`${upgrade('ws')}early`);
    expect(await client.rest()).toMatch(/^HTTP\/1\.1 101 .*hello$/s);
    await until(() => Buffer.concat(heard).toString().endsWith('\r\n\r\nearly'));
    expect(client.events[0]).toBe('end');
  });

  it('an upgrade lets the target finish first while the program continues to send', async () => {
    const heard: Buffer[] = [];
    const target = await webServer(
      () => {},
      (server) =>
        server.on('upgrade', (_, socket) => {
          socket.on('data', (chunk: Buffer) => heard.push(chunk));
          socket.end('HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
        }),
    );
    const { port } = await proxyTo(target);
    const client = new Client(port).send(upgrade('ws'));
    await until(() => client.events.includes('end'));
    client.socket.end('late');
    await until(() => Buffer.concat(heard).toString() === 'late');
  });

  it('an upgrade with a body to another protocol than WebSocket is ignored, and the connection is kept', async () => {
    const seen: string[] = [];
    const { port, opener } = await proxyTo(
      await webServer((request, response) => {
        const { upgrade, connection } = request.headers;
        seen.push(`${upgrade} ${connection} ${request.headers['http2-settings']}`);
        const chunks: Buffer[] = [];
        request.on('data', (chunk: Buffer) => chunks.push(chunk));
        request.on('end', () => response.end(Buffer.concat(chunks)));
      }),
    );
    const client = new Client(port);
    const wishes = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA';
    const page = 'z'.repeat(200_000);
    for (let i = 0; i < 15; i++) {
      client.send(`POST http://h/ HTTP/1.1\r\nHost: h\r\n${wishes}\r\nContent-Length: ${page.length}\r\n\r\nz`);
      await until(() => seen.length === i + 1);
      client.send(page.slice(1));
      expect((await readAnswer(client)).body === page).toBe(true);
    }
    const chunked = `POST http://h/ HTTP/1.1\r\nHost: h\r\n${wishes}\r\nTransfer-Encoding: chunked\r\n\r\n`;
    client.send(`${chunked}1\r\nc\r\n0\r\n\r\n${get('/').replaceAll('example.com', 'h')}`);
    expect((await readAnswer(client)).body).toBe('c');
    expect((await readAnswer(client)).body).toBe('');
    expect(new Set(seen)).toEqual(new Set(['undefined keep-alive undefined']));
    // One for each that may not be sent twice.
    expect([opener.streams.length, client.events]).toEqual([16, []]);
  });

  it('an upgrade with a body to a WebSocket is refused with 501', async () => {
    const { port, opener } = await proxyTo(0);
    const request = upgrade('http').replace('\r\n\r\n', '\r\nContent-Length: 4\r\n\r\nbody');
    expect(await new Client(port).send(request).rest()).toMatch(/^HTTP\/1\.1 501 /);
    expect(opener.targets).toEqual([]);
  });

  it('a response that declines an upgrade is forwarded, and ends the connection', async () => {
    const { port } = await proxyTo(await webServer((_, response) => response.writeHead(426).end('no')));
    const answer = await new Client(port).send(upgrade('ws')).rest();
    expect(answer).toMatch(/^HTTP\/1\.1 426 .*Connection: close\r\n.*\r\n\r\n2\r\nno\r\n0\r\n\r\n$/s);
  });

  it('a response that declines an upgrade in an unknown coding becomes 502, and its stream is discarded', async () => {
    const answer = 'HTTP/1.1 426 No\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n';
    const target = await tcpServer((socket) => socket.once('data', () => socket.write(answer)));
    const { port, opener } = await proxyTo(target);
    const client = new Client(port).send(upgrade('ws'));
    expect(await client.rest()).toMatch(/^HTTP\/1\.1 502 .*WSTUN-E507/s);
    // Though the program stays.
    expect(client.socket.destroyed).toBe(false);
    await until(() => opener.streams[0]?.destroyed === true);
  });

  it('an upgrade whose dial fails gets an error response', async () => {
    const { port, opener } = await proxyTo(0);
    opener.fault = 'dial-refused';
    expect(await new Client(port).send(upgrade('ws')).rest()).toMatch(/^HTTP\/1\.1 502 .*WSTUN-E301/s);
  });
});
