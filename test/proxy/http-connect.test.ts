import { describe, expect, it } from 'vitest';
import type { FaultName } from '../../src/errors.ts';
import { get } from '../support/http.ts';
import { ipTarget } from '../support/net/targets.ts';
import { Client, echo, tcpServer } from '../support/net/tcp.ts';
import { proxyTo } from '../support/proxy/proxy.ts';
import { until } from '../support/until.ts';

describe('CONNECT', () => {
  it('CONNECT pipes both ways what follows the head, and half-closes', async () => {
    const { port, opener } = await proxyTo(await tcpServer(echo));
    const client = new Client(port).send('CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\nearly ');
    expect(await client.takeUntil('\r\n\r\n')).toBe('HTTP/1.1 200 Connection established\r\n\r\n');
    client.socket.end('late');
    await until(() => client.events.includes('close'));
    expect([client.received.toString(), client.events]).toEqual(['early late', ['end', 'close']]);
    expect(opener.targets).toEqual([{ kind: 'name', name: 'example.com', port: 443 }]);
  });

  it('CONNECT pipes what follows the head although the program ends before the tunnel is open', async () => {
    const { port, opener } = await proxyTo(await tcpServer(echo));
    const release = opener.hold();
    const client = new Client(port);
    client.socket.end('CONNECT h:1 HTTP/1.1\r\n\r\nearly');
    await until(() => opener.targets.length === 1);
    // Time for the end to come.
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
    release();
    expect(await client.rest()).toMatch(/established\r\n\r\nearly$/);
    expect(client.events[0]).toBe('end');
  });

  it('CONNECT pipes what follows the head although the program did not wait for the response before', async () => {
    let answer = () => {};
    const target = await tcpServer((socket) =>
      socket.once('data', (chunk) => {
        answer = () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine');
        if (chunk.toString() === 'early') socket.end('hello');
      }),
    );
    const { port } = await proxyTo(target);
    const client = new Client(port);
    const before = answer;
    client.socket.end(`${get('/')}CONNECT h:1 HTTP/1.1\r\n\r\nearly`);
    await until(() => answer !== before);
    // Time for the end to come.
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
    answer();
    expect(await client.rest()).toMatch(/fineHTTP\/1\.1 200 Connection established\r\n\r\nhello$/);
    expect(client.events[0]).toBe('end');
  });

  it('CONNECT works byte by byte, from HTTP/1.0 without Host, and to IPv6', async () => {
    const { port, opener } = await proxyTo(await tcpServer(echo));
    const client = new Client(port);
    for (const char of 'CONNECT [2001:db8::1]:22 HTTP/1.0\r\n\r\n') {
      client.send(char);
      await new Promise(setImmediate);
    }
    await client.takeUntil('established\r\n\r\n');
    expect(opener.targets).toEqual([ipTarget('2001:db8::1', 22)]);
  });

  it.each<[FaultName, number, string]>([
    ['dial-refused', 502, 'WSTUN-E301'],
    ['dial-not-allowed', 403, 'WSTUN-E304'],
    ['dial-timed-out', 504, 'WSTUN-E305'],
    ['not-connected', 503, 'WSTUN-E209'],
  ])('CONNECT answers %s with %i and the reason, and ends', async (fault, status, code) => {
    const { port, opener } = await proxyTo(0);
    opener.fault = fault;
    const client = new Client(port).send('CONNECT example.com:443 HTTP/1.1\r\n\r\nunread');
    const answer = await client.rest();
    expect(client.events[0]).toBe('end');
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(answer).toContain(code);
  });

  it('CONNECT cancels the dial when the program resets its connection', async () => {
    const { proxy, port, opener } = await proxyTo(0);
    opener.hold();
    const client = new Client(port).send('CONNECT example.com:443 HTTP/1.1\r\n\r\n');
    await until(() => opener.targets.length === 1);
    client.socket.resetAndDestroy();
    await until(() => opener.signals[0]?.aborted === true);
    await until(() => proxy.connections === 0);
  });

  it('CONNECT asks for credentials with 407', async () => {
    const { port, opener } = await proxyTo(await tcpServer(echo), { credentials: { user: 'ann', pass: 'secret' } });
    const refused = new Client(port).send('CONNECT h:443 HTTP/1.1\r\n\r\n');
    expect(await refused.rest()).toMatch(/^HTTP\/1\.1 407 .*\r\nProxy-Authenticate: Basic /s);
    expect(opener.targets).toEqual([]);
    const right = `Proxy-Authorization: Basic ${Buffer.from('ann:secret').toString('base64')}`;
    await new Client(port).send(`CONNECT h:443 HTTP/1.1\r\n${right}\r\n\r\n`).takeUntil('established\r\n\r\n');
  });
});
