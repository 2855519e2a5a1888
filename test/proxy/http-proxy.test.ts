import { describe, expect, it } from 'vitest';
import { get, readAnswer, webServer } from '../support/http.ts';
import { Client } from '../support/net/tcp.ts';
import { proxyTo } from '../support/proxy/proxy.ts';
import { until } from '../support/until.ts';

describe('what is not a proxy request', () => {
  it('a request in origin-form is told that this is a proxy', async () => {
    const { port } = await proxyTo(0);
    const { head, body } = await readAnswer(new Client(port).send('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'));
    expect(head).toMatch(/^HTTP\/1\.1 400 /);
    expect(head).not.toMatch(/access-control/i);
    expect(body).toContain('curl -x socks5h://');
  });

  it.each([
    [
      'a length and chunks at once',
      'POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n',
      400,
    ],
    ['two lengths', 'POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n', 400],
    ['a folded header', 'GET http://h/ HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\nTransfer-Encoding : chunked\r\n\r\n', 400],
    ['no Host in HTTP/1.1', 'GET http://h/ HTTP/1.1\r\n\r\n', 400],
    ['a header of more than 64 KiB', `GET http://h/ HTTP/1.1\r\nHost: h\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`, 431],
  ])('a request is refused if it has %s', async (_, request, status) => {
    const { port, opener } = await proxyTo(0);
    expect(await new Client(port).send(request).rest()).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(opener.targets).toEqual([]);
  });

  it('a request that does not come in time is answered 408', async () => {
    const { port } = await proxyTo(0, { limits: { negotiationMs: 60 } });
    expect(await new Client(port).send('GET http://h/ HTTP/1.1\r\nHos').rest()).toMatch(/^HTTP\/1\.1 408 .*E501/s);
  });

  it('the proxy waits for the next request only for the keep-alive time', async () => {
    const target = await webServer((_, response) => response.end('x'));
    const { proxy, port } = await proxyTo(target, { limits: { keepAliveMs: 60 } });
    const client = new Client(port).send(get('/'));
    await readAnswer(client);
    client.send('GET http://h/ HTTP/1.1\r\nHos');
    await until(() => client.events.length > 0);
    await until(() => proxy.connections === 0);
  });
});

describe('closing the proxy', () => {
  it('closing the proxy ends idle HTTP connections at once, and others after their response', async () => {
    let finish = () => {};
    const target = await webServer((request, response) => {
      finish = () => response.end('done');
      if (request.url === '/now') finish();
    });
    const { proxy, port } = await proxyTo(target);
    const idle = new Client(port).send(get('/now'));
    await readAnswer(idle);
    const before = finish;
    const busy = new Client(port).send(get('/wait'));
    await until(() => finish !== before);
    const closed = proxy.close(10_000);
    await until(() => idle.events.length > 0);
    finish();
    expect((await readAnswer(busy)).body).toBe('done');
    await closed;
  });
});
