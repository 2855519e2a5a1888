import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/observability/logger.ts';
import { startProxyServer } from '../../src/proxy/proxy-server.ts';
import { faultOfPromise } from '../support/faults.ts';
import { Client, echo, tcpServer } from '../support/net/tcp.ts';
import { FakeOpener } from '../support/proxy/fake-opener.ts';
import { proxyTo } from '../support/proxy/proxy.ts';
import { until } from '../support/until.ts';

const REQUEST = [5, 1, 0, 5, 1, 0, 1, 192, 0, 2, 1, 0, 80];

describe('startProxyServer', () => {
  it('startProxyServer rejects with cannot-listen when the port is taken', async () => {
    const { port } = await proxyTo(0);
    const again = startProxyServer({ host: '127.0.0.1', port, opener: new FakeOpener(), logger: silentLogger });
    expect(await faultOfPromise(again)).toBe('cannot-listen');
  });

  it('the proxy closes connections beyond its limit unread, logs it once, and accepts new ones when others have gone', async () => {
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (_: object, message: string) => warnings.push(message) };
    const { proxy, port } = await proxyTo(await tcpServer(echo), { logger, limits: { maxConnections: 1 } });
    const first = new Client(port).send(REQUEST);
    await first.take(12);
    for (let i = 0; i < 2; i++) {
      const second = new Client(port);
      await until(() => second.events.length > 0);
    }
    expect(warnings).toEqual([expect.stringContaining('WSTUN-E506')]);
    first.socket.destroy();
    await until(() => proxy.connections === 0);
    await new Client(port).send(REQUEST).take(12);
  });

  it('the proxy has nothing left after 200 connections, half of them reset', async () => {
    const { proxy, port, opener } = await proxyTo(await tcpServer(echo));
    const clients = Array.from({ length: 200 }, () => new Client(port).send(REQUEST));
    await Promise.all(clients.map((client) => client.take(12)));
    expect(proxy.connections).toBe(200);
    for (const [i, client] of clients.entries()) {
      if (i % 2) client.socket.end();
      else client.socket.resetAndDestroy();
    }
    await until(() => proxy.connections === 0);
    expect(opener.streams.every((stream) => stream.destroyed)).toBe(true);
  });
});

describe('closing the proxy server', () => {
  it('closing the proxy lets an open connection finish and closes silent ones', async () => {
    const { proxy, port } = await proxyTo(await tcpServer(echo));
    const silent = new Client(port);
    const busy = new Client(port).send(REQUEST);
    await busy.take(12);
    await until(() => proxy.connections === 2);
    const closed = proxy.close(10_000);
    await until(() => silent.events.includes('end'));
    busy.socket.end('last words');
    await closed;
    await until(() => busy.events.includes('close'));
    expect([busy.received.toString(), busy.events]).toEqual(['last words', ['end', 'close']]);
  });

  it('closing the proxy resets what is open when the grace period ends, and a second call shortens it', async () => {
    const { proxy, port, opener } = await proxyTo(await tcpServer(echo));
    const client = new Client(port).send(REQUEST);
    await client.take(12);
    const closed = proxy.close(60_000);
    await proxy.close(0);
    await closed;
    await until(() => client.events.includes('close'));
    expect(client.events).toEqual(['reset', 'close']);
    expect(opener.streams[0]?.destroyed).toBe(true);
  });

  it('closing the proxy destroys streams that outlive their socket', async () => {
    const { proxy, port, opener } = await proxyTo(await tcpServer((socket) => socket.end()));
    const client = new Client(port).send(REQUEST);
    await client.take(12);
    const [stream] = opener.streams;
    // What it still had to send never gets through.
    stream!._final = () => {};
    client.socket.end();
    await until(() => client.events.includes('close'));
    expect([stream!.destroyed, proxy.connections]).toEqual([false, 1]);
    await proxy.close(0);
    expect([stream!.destroyed, proxy.connections]).toEqual([true, 0]);
  });

  it('closing the proxy cancels dials under way', async () => {
    const { proxy, port, opener } = await proxyTo(0);
    opener.hold();
    new Client(port).send(REQUEST);
    await until(() => opener.signals.length === 1);
    await proxy.close(0);
    expect(opener.signals[0]?.aborted).toBe(true);
  });

  it.each([
    ['SOCKS5', REQUEST],
    ['CONNECT', 'CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n'],
    ['GET', 'GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n'],
  ])(
    'does not wait for a program that is gone before its stream was open, whenever it goes (%s)',
    async (_, request) => {
      const { proxy, port, opener } = await proxyTo(0);
      opener.hold();
      const [early, late] = [new Client(port).send(request), new Client(port).send(request)];
      await until(() => opener.signals.length === 2);
      early.socket.end();
      const closed = proxy.close(20_000);
      const since = performance.now();
      await until(() => opener.signals[0]?.aborted === true, 5_000);
      expect(opener.signals[1]?.aborted).toBe(false);
      late.socket.end();
      await until(() => opener.signals[1]?.aborted === true, 5_000);
      for (const { socket } of [early, late]) socket.destroy();
      await closed;
      expect(performance.now() - since).toBeLessThan(10_000);
    },
  );

  it('the proxy takes a half-close of a program for no more than that while it is not closing', async () => {
    const target = await tcpServer((socket) => socket.end('answer'));
    const { port, opener } = await proxyTo(target);
    const release = opener.hold();
    const client = new Client(port).send(REQUEST);
    client.socket.end();
    await until(() => opener.signals.length === 1);
    release();
    expect(await client.rest()).toContain('answer');
  });

  it('closing the proxy leaves no handle', async () => {
    const handles = () => process.getActiveResourcesInfo().filter((kind) => /TCP/.test(kind)).length;
    const target = await tcpServer(echo);
    const before = handles();
    const { proxy, port, opener } = await proxyTo(target);
    const clients = [REQUEST, 'CONNECT h:1 HTTP/1.1\r\n\r\n', 'GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n', [5], 'GET'];
    const sockets = clients.map((bytes) => new Client(port).send(bytes).socket);
    await until(() => opener.streams.length === 3 && proxy.connections === 5);
    await proxy.close(0);
    for (const socket of sockets) socket.destroy();
    // Fewer where those of the test before were still closing.
    await until(() => handles() <= before);
  });

  it('closing the proxy stops accepting', async () => {
    const { proxy, port } = await proxyTo(0);
    await proxy.close(0);
    const late = new Client(port);
    await until(() => late.events.includes('close'));
    expect(late.events).toEqual(['reset', 'close']);
  });
});
