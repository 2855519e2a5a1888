import { once } from 'node:events';
import { SocksClient } from 'socks';
import { describe, expect, it, vi } from 'vitest';
import type { FaultName } from '../../src/errors.ts';
import { ipTarget } from '../support/net/targets.ts';
import { Client, echo, tcpServer } from '../support/net/tcp.ts';
import { proxyTo } from '../support/proxy/proxy.ts';
import { until } from '../support/until.ts';

const GREETING = [5, 1, 0];
const REQUEST = [5, 1, 0, 3, 11, ...Buffer.from('example.com'), 0, 80];
const GRANTED = '05000001000000000000';
const SOCKS4A = [4, 1, 0, 80, 0, 0, 0, 1, 0, ...Buffer.from('example.com'), 0];
const CREDENTIALS = { user: 'ann', pass: 'secret' };

/** What was sent to the proxy before has reached it then. */
async function roundTrip(port: number): Promise<void> {
  await new Client(port).send('GET / HTTP/1.1\r\nHost: h\r\n\r\n').takeUntil('\r\n\r\n');
}

describe('SOCKS on the mixed port', () => {
  it('SOCKS pipes data that follows the request, and both half-closes', async () => {
    const { port, opener } = await proxyTo(await tcpServer(echo));
    const client = new Client(port).send([...GREETING, ...REQUEST, ...Buffer.from('early')]);
    client.socket.end('late');
    await until(() => client.events.includes('close'));
    expect(client.received.toString('latin1')).toBe(
      `\u0005\0${Buffer.from(GRANTED, 'hex').toString('latin1')}earlylate`,
    );
    expect(client.events).toEqual(['end', 'close']);
    expect(opener.targets).toEqual([{ kind: 'name', name: 'example.com', port: 80 }]);
  });

  it('SOCKS serves a request that comes byte by byte', async () => {
    const { port } = await proxyTo(await tcpServer(echo));
    const client = new Client(port);
    for (const byte of [...GREETING, ...REQUEST]) {
      client.send([byte]);
      await new Promise(setImmediate);
    }
    expect((await client.take(12)).toString('hex')).toBe(`0500${GRANTED}`);
  });

  it('SOCKS accepts a program that offers only user and password if no credentials are set', async () => {
    const { port, opener } = await proxyTo(await tcpServer(echo));
    const client = new Client(port).send([5, 1, 2]);
    expect((await client.take(2)).toString('hex')).toBe('0502');
    client.send([1, 3, ...Buffer.from('ann'), 6, ...Buffer.from('secret')]);
    expect((await client.take(2)).toString('hex')).toBe('0100');
    client.send([...REQUEST, ...Buffer.from('hello')]);
    expect((await client.take(10)).toString('hex')).toBe(GRANTED);
    expect((await client.take(5)).toString()).toBe('hello');
    expect(opener.targets).toEqual([{ kind: 'name', name: 'example.com', port: 80 }]);
  });

  it('SOCKS replies to a request of another version after a SOCKS5 greeting, and closes', async () => {
    const { port } = await proxyTo(0);
    const client = new Client(port).send([...GREETING, 4, 1, 0, 80, 192, 0, 2, 1, 0]);
    expect(Buffer.from(await client.rest(), 'latin1').toString('hex')).toBe('050005010001000000000000');
  });

  it('SOCKS4a is served', async () => {
    const { port, opener } = await proxyTo(await tcpServer(echo));
    const client = new Client(port).send([...SOCKS4A, ...Buffer.from('hello')]);
    expect((await client.take(8)).toString('hex')).toBe('005a000000000000');
    expect((await client.take(5)).toString()).toBe('hello');
    expect(opener.targets).toEqual([{ kind: 'name', name: 'example.com', port: 80 }]);
  });

  it('SOCKS delivers an answer of 1 MiB after a half-close by the program', async () => {
    const answer = Buffer.alloc(1024 * 1024, 'a');
    const target = await tcpServer((socket) => socket.resume().on('end', () => socket.end(answer)));
    const { port } = await proxyTo(target);
    const client = new Client(port).send([...GREETING, ...REQUEST]);
    client.socket.end();
    await until(() => client.events.includes('close'));
    expect(client.received.length).toBe(12 + answer.length);
    expect(client.events).toEqual(['end', 'close']);
  });

  it('SOCKS replies only after the dial has succeeded', async () => {
    const { port, opener } = await proxyTo(await tcpServer(echo));
    const release = opener.hold();
    const client = new Client(port).send([...GREETING, ...REQUEST]);
    await until(() => opener.targets.length === 1);
    expect((await client.take(2)).toString('hex')).toBe('0500');
    expect(client.received.length).toBe(0);
    release();
    expect((await client.take(10)).toString('hex')).toBe(GRANTED);
  });

  it.each<[FaultName, string]>([
    ['dial-refused', '05050001000000000000'],
    ['dial-not-allowed', '05020001000000000000'],
    ['not-connected', '05010001000000000000'],
  ])('SOCKS replies to %s with its own code, and ends', async (fault, reply) => {
    const { port, opener } = await proxyTo(0);
    opener.fault = fault;
    const client = new Client(port).send([...GREETING, ...REQUEST, ...Buffer.from('unread data')]);
    await until(() => client.events.length > 0);
    expect(client.received.toString('hex')).toBe(`0500${reply}`);
    expect(client.events[0]).toBe('end');
  });

  it('SOCKS reads what a refused program still sends, so that no reset destroys the reply', async () => {
    const { proxy, port, opener } = await proxyTo(0);
    opener.fault = 'dial-refused';
    const client = new Client(port).send([...GREETING, ...REQUEST]).send(Buffer.alloc(16 * 1024 * 1024));
    client.socket.end();
    await until(() => proxy.connections === 0);
    await until(() => client.events.includes('close'));
    expect(client.events).toEqual(['end', 'close']);
  });

  it('SOCKS destroys a refused connection that does not close in time', async () => {
    const { proxy, port, opener } = await proxyTo(0, { limits: { lingerMs: 50 } });
    opener.fault = 'dial-refused';
    const client = new Client(port).send([...GREETING, ...REQUEST]);
    await until(() => client.events.includes('end'));
    expect(client.socket.writable).toBe(true);
    await until(() => proxy.connections === 0);
  });

  it('SOCKS cancels the dial when the program resets its connection, even after data', async () => {
    const { proxy, port, opener } = await proxyTo(0);
    opener.hold();
    const client = new Client(port).send([...GREETING, ...REQUEST, ...Buffer.from('early')]);
    await until(() => opener.targets.length === 1);
    expect(opener.signals[0]?.aborted).toBe(false);
    client.socket.resetAndDestroy();
    await until(() => opener.signals[0]?.aborted === true);
    await until(() => proxy.connections === 0);
  });

  it('SOCKS does not cancel the dial for a half-close', async () => {
    const { port, opener } = await proxyTo(await tcpServer(echo));
    const release = opener.hold();
    const client = new Client(port).send([...GREETING, ...REQUEST, ...Buffer.from('early')]);
    client.socket.end();
    await until(() => opener.targets.length === 1);
    await until(() => client.socket.writableFinished);
    await roundTrip(port);
    expect(opener.signals[0]?.aborted).toBe(false);
    release();
    await until(() => client.events.includes('close'));
    expect(client.received.toString('latin1').endsWith('early')).toBe(true);
  });

  it('SOCKS passes a reset by the target on as a reset', async () => {
    const { port } = await proxyTo(await tcpServer((socket) => socket.once('data', () => socket.resetAndDestroy())));
    const client = new Client(port).send([...GREETING, ...REQUEST]);
    await client.take(12);
    client.send('x');
    await until(() => client.events.includes('close'));
    expect(client.events).toEqual(['reset', 'close']);
  });

  it.each([
    ['nothing', []],
    ['half a greeting', [5]],
    ['half a request', [...GREETING, 5, 1, 0]],
    ['half a SOCKS4 request', [4, 1, 0]],
    ['half a method', [...Buffer.from('CONN')]],
  ])('SOCKS closes a connection that sends %s and falls silent', async (_, bytes) => {
    const { proxy, port } = await proxyTo(0, { limits: { negotiationMs: 60, lingerMs: 60 } });
    const client = new Client(port).send(bytes);
    await until(() => client.events.length > 0);
    await until(() => proxy.connections === 0);
  });

  it('SOCKS closes a connection that ends within a request', async () => {
    const { proxy, port } = await proxyTo(0);
    const client = new Client(port).send([...GREETING, 5, 1]);
    client.socket.end();
    await until(() => client.events.includes('close'));
    await until(() => proxy.connections === 0);
  });

  it('the mixed port closes a connection that is neither SOCKS nor HTTP', async () => {
    const { port } = await proxyTo(0);
    const client = new Client(port).send([0x16, 3, 1, 2, 0]);
    expect(await client.rest()).toBe('');
  });

  it('SOCKS5 asks for the password, and SOCKS4 is refused, if credentials are set', async () => {
    const { port } = await proxyTo(await tcpServer(echo), { credentials: CREDENTIALS });
    const right = [1, 3, ...Buffer.from('ann'), 6, ...Buffer.from('secret')];
    const client = new Client(port).send([5, 1, 2, ...right, ...REQUEST]);
    expect((await client.take(14)).toString('hex')).toBe(`05020100${GRANTED}`);
    const older = new Client(port).send(SOCKS4A);
    expect(Buffer.from(await older.rest(), 'latin1').toString('hex')).toBe('005b000000000000');
  });
});

it('wrong passwords by SOCKS5 and HTTP count together, and the right one is accepted again later', async () => {
  const { port } = await proxyTo(await tcpServer(echo), { credentials: CREDENTIALS });
  const bySocks = async (pass: string) => {
    const client = new Client(port).send([5, 1, 2, 1, 3, ...Buffer.from('ann'), pass.length, ...Buffer.from(pass)]);
    return (await client.take(4)).toString('hex');
  };
  const byHttp = async (pass: string) => {
    const basic = Buffer.from(`ann:${pass}`).toString('base64');
    const client = new Client(port).send(
      `CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\nProxy-Authorization: Basic ${basic}\r\n\r\n`,
    );
    return (await client.takeUntil('\r\n\r\n')).split(' ')[1];
  };
  for (let i = 0; i < 6; i++) {
    expect(await bySocks(`guess ${i}`)).toBe('05020101');
    expect(await byHttp(`other ${i}`)).toBe('407');
  }
  expect([await bySocks('secret'), await byHttp('secret')]).toEqual(['05020101', '407']);
  await vi.waitFor(async () => expect(await bySocks('secret')).toBe('05020100'), { timeout: 30_000, interval: 200 });
  expect(await byHttp('secret')).toBe('200');
});

describe('the socks package as a client', () => {
  it.each([
    ['SOCKS5 with a name', { type: 5 as const }, 'example.com', { kind: 'name', name: 'example.com' }],
    ['SOCKS5 with IPv6', { type: 5 as const }, '2001:db8::1', ipTarget('2001:db8::1', 4321)],
    ['SOCKS4', { type: 4 as const }, '192.0.2.1', ipTarget('192.0.2.1', 4321)],
    ['SOCKS4a', { type: 4 as const }, 'example.com', { kind: 'name', name: 'example.com' }],
  ])('the socks package connects by %s', async (_, { type }, host, target) => {
    const { port, opener } = await proxyTo(await tcpServer(echo));
    const { socket } = await SocksClient.createConnection({
      proxy: { host: '127.0.0.1', port, type },
      command: 'connect',
      destination: { host, port: 4321 },
    });
    socket.end('ping');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toBe('ping');
    expect(opener.targets).toEqual([{ ...target, port: 4321 }]);
  });

  it('the socks package authenticates, and learns of a wrong password', async () => {
    const { port } = await proxyTo(await tcpServer(echo), { credentials: CREDENTIALS });
    const attempt = (password: string) =>
      SocksClient.createConnection({
        proxy: { host: '127.0.0.1', port, type: 5, userId: 'ann', password },
        command: 'connect',
        destination: { host: 'example.com', port: 80 },
      });
    const { socket } = await attempt('secret');
    socket.destroy();
    await expect(attempt('wrong')).rejects.toThrow(/Authentication failed/);
  });
});
