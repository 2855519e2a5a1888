import { describe, expect, it, onTestFinished } from 'vitest';
import { silentLogger } from '../../../src/observability/logger.ts';
import { startProxyServer } from '../../../src/proxy/proxy-server.ts';
import { datagramHeader, readDatagram } from '../../../src/proxy/udp/datagram-header.ts';
import type { Target } from '../../../src/tunnel/stream/stream.ts';
import { collectingLogger } from '../../support/collecting-logger.ts';
import { ipTarget } from '../../support/net/targets.ts';
import { Client } from '../../support/net/tcp.ts';
import { UdpClient } from '../../support/net/udp.ts';
import { FakeOpener } from '../../support/proxy/fake-opener.ts';
import { proxyTo } from '../../support/proxy/proxy.ts';
import { until } from '../../support/until.ts';

const TARGET = ipTarget('192.0.2.7', 53);
const NAME: Target = { kind: 'name', name: 'example.com', port: 53 };

function wrap(target: Target, text: string): Buffer {
  return Buffer.concat([datagramHeader(target), Buffer.from(text)]);
}

function request(programPort: number): number[] {
  return [5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, programPort >> 8, programPort & 0xff];
}

/** Asks for an association. `port`: the one that the reply names. */
async function associate(proxyPort: number, programPort = 0): Promise<{ tcp: Client; port: number }> {
  const tcp = new Client(proxyPort).send(request(programPort));
  const reply = await tcp.take(12);
  expect(reply.toString('hex')).toMatch(/^0500050000017f000001/);
  return { tcp, port: reply.readUInt16BE(10) };
}

describe('UDP ASSOCIATE', () => {
  it('UDP ASSOCIATE relays datagrams both ways, to addresses and to names that nobody has resolved', async () => {
    const { port: proxy, opener } = await proxyTo(0);
    const { port } = await associate(proxy);
    const udp = await UdpClient.open();
    expect(opener.associations).toHaveLength(0);
    await udp.send(wrap(TARGET, 'one'), port);
    await udp.send(wrap(NAME, 'two'), port);
    await until(() => opener.associations[0]?.sent.length === 2);
    const [association] = opener.associations;
    expect(association?.target).toBeUndefined();
    expect(association?.sent).toEqual([
      { text: 'one', to: TARGET },
      { text: 'two', to: NAME },
    ]);
    association?.answer('three', ipTarget('2001:db8::1', 5353));
    expect(readDatagram(await udp.take())).toEqual({
      target: ipTarget('2001:db8::1', 5353),
      data: Buffer.from('three'),
    });
  });

  it('UDP ASSOCIATE, and UDP in the connection, are refused with 07 where the exit is too old for them', async () => {
    const { port: proxy, opener } = await proxyTo(0);
    opener.lacksUdp = true;
    const framed = request(0).with(4, 5);
    for (const bytes of [request(0), framed]) {
      const tcp = new Client(proxy).send(bytes);
      expect((await tcp.take(4)).toString('hex')).toBe('05000507');
      expect(opener.attempts).toBe(0);
    }
  });

  it('UDP ASSOCIATE works for a program that has connected by IPv6', async () => {
    const opener = new FakeOpener();
    opener.echoes = true;
    const proxy = await startProxyServer({ host: '::1', port: 0, opener, logger: silentLogger });
    onTestFinished(() => proxy.close(0));
    const { connect } = await import('node:net');
    const tcp = new Client(connect({ host: '::1', port: proxy.address.port, allowHalfOpen: true })).send(request(0));
    const reply = await tcp.take(24);
    expect(reply.toString('hex')).toMatch(/^0500050000040{31}1/);
    const udp = await UdpClient.open('::1');
    await udp.send(wrap(TARGET, 'echo'), reply.readUInt16BE(22), '::1');
    expect((await udp.take()).equals(wrap(TARGET, 'echo'))).toBe(true);
  });

  it('UDP ASSOCIATE works at a proxy that listens on all addresses of both families', async () => {
    const { port: proxy, opener } = await proxyTo(0, { host: '::' });
    opener.echoes = true;
    const { port } = await associate(proxy);
    const udp = await UdpClient.open();
    await udp.send(wrap(TARGET, 'echo'), port);
    expect((await udp.take()).equals(wrap(TARGET, 'echo'))).toBe(true);
  });

  it('UDP ASSOCIATE accepts only the port that the request names', async () => {
    const { port: proxy, opener } = await proxyTo(0);
    const [program, stranger] = [await UdpClient.open(), await UdpClient.open()];
    const { port } = await associate(proxy, program.port);
    await stranger.send(wrap(TARGET, 'strange'), port);
    await program.send(wrap(TARGET, 'own'), port);
    await until(() => opener.associations.length > 0);
    expect(opener.associations[0]?.sent.map(({ text }) => text)).toEqual(['own']);
  });

  it('UDP ASSOCIATE without a port keeps the first port that has sent a datagram, and answers no other', async () => {
    const { port: proxy, opener } = await proxyTo(0);
    opener.echoes = true;
    const [program, stranger] = [await UdpClient.open(), await UdpClient.open()];
    const { port } = await associate(proxy);
    await stranger.send('no header at all', port);
    await program.send(wrap(TARGET, 'first'), port);
    await program.take();
    await stranger.send(wrap(TARGET, 'strange'), port);
    await program.send(wrap(TARGET, 'second'), port);
    await program.take();
    expect(opener.associations[0]?.sent.map(({ text }) => text)).toEqual(['first', 'second']);
    expect(stranger.received).toEqual([]);
  });

  it('UDP ASSOCIATE accepts datagrams only from the address of the TCP connection', async () => {
    const { port: proxy, opener } = await proxyTo(0);
    opener.echoes = true;
    const [program, stranger] = [await UdpClient.open(), await UdpClient.open('127.0.0.2')];
    const { port } = await associate(proxy);
    await stranger.send(wrap(TARGET, 'strange'), port);
    await program.send(wrap(TARGET, 'own'), port);
    await program.take();
    expect(opener.associations[0]?.sent.map(({ text }) => text)).toEqual(['own']);
  });

  it('UDP ASSOCIATE drops fragments and malformed datagrams, and goes on', async () => {
    const { port: proxy, opener } = await proxyTo(0);
    opener.echoes = true;
    const program = await UdpClient.open();
    const { port } = await associate(proxy);
    const fragment = wrap(TARGET, 'fragment');
    fragment[2] = 1;
    for (const bytes of [fragment, Buffer.alloc(0), Buffer.alloc(5), wrap(TARGET, 'whole')])
      await program.send(bytes, port);
    expect((await program.take()).equals(wrap(TARGET, 'whole'))).toBe(true);
    expect(opener.associations[0]?.sent).toHaveLength(1);
  });

  it('UDP ASSOCIATE relays datagrams of every length that fits', async () => {
    const { port: proxy, opener } = await proxyTo(0);
    opener.echoes = true;
    const program = await UdpClient.open();
    const { port } = await associate(proxy);
    for (const length of [0, 1, 1_400, 9_000, 65_497]) {
      await program.send(wrap(TARGET, 'x'.repeat(length)), port);
      expect((await program.take()).length).toBe(10 + length);
    }
    // Too long with its header: dropped, and nothing else happens.
    opener.associations[0]?.answer('x'.repeat(65_507), TARGET);
    await program.send(wrap(TARGET, 'after'), port);
    expect((await program.take()).equals(wrap(TARGET, 'after'))).toBe(true);
  });

  it.each(['end', 'reset'] as const)('UDP ASSOCIATE ends with its TCP connection: %s', async (how) => {
    const { proxy, port: proxyPort, opener } = await proxyTo(0);
    const program = await UdpClient.open();
    const { tcp, port } = await associate(proxyPort);
    await program.send(wrap(TARGET, 'one'), port);
    await until(() => opener.associations.length === 1);
    if (how === 'end') tcp.socket.end();
    else tcp.socket.resetAndDestroy();
    await until(() => opener.associations[0]?.isClosed === true && proxy.connections === 0);
    // The port is free again.
    await UdpClient.open('127.0.0.1', port);
  });

  it('UDP ASSOCIATE opens another association when there is a datagram after the end of one', async () => {
    const { port: proxy, opener } = await proxyTo(0);
    const program = await UdpClient.open();
    const { port } = await associate(proxy);
    await program.send(wrap(TARGET, 'one'), port);
    await until(() => opener.associations.length === 1);
    opener.associations[0]?.end('link-lost');
    await until(() => {
      void program.send(wrap(TARGET, 'two'), port);
      return opener.associations.length === 2;
    });
    opener.associations[0]?.answer('of the old one', TARGET);
    opener.associations[1]?.answer('of the new one', TARGET);
    await until(() => program.received.length === 2);
  });

  it('a proxy that shuts down ends its associations at once, and their connections', async () => {
    const { proxy, port: proxyPort, opener } = await proxyTo(0);
    const program = await UdpClient.open();
    const { tcp, port } = await associate(proxyPort);
    await program.send(wrap(TARGET, 'one'), port);
    await until(() => opener.associations.length === 1);
    const closed = proxy.close(30_000);
    await until(() => tcp.events.includes('end'));
    tcp.socket.end();
    await closed;
    expect(opener.associations[0]?.isClosed).toBe(true);
  });

  it('the association that has been idle for longest, at least a second, makes room for another', {
    tags: ['waits'],
  }, async () => {
    const { proxy, port: proxyPort, opener } = await proxyTo(0, { limits: { maxAssociations: 3 } });
    const programs: { tcp: Client; port: number; udp: UdpClient }[] = [];
    for (let n = 0; n < 3; n++) {
      programs.push({ ...(await associate(proxyPort)), udp: await UdpClient.open() });
      await programs.at(-1)?.udp.send(wrap(TARGET, `${n}`), programs.at(-1)?.port ?? 0);
      await until(() => opener.associations.length === n + 1);
    }
    const [first, second] = programs;
    // All three are in use.
    const refused = new Client(proxyPort).send(request(0));
    expect((await refused.take(12)).toString('hex')).toBe('050005010001000000000000');
    refused.socket.end();
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await first?.udp.send(wrap(TARGET, 'again'), first.port);
    await until(() => opener.associations[0]?.sent.length === 2);
    await associate(proxyPort);
    await until(() => second?.tcp.events.includes('end') === true);
    second?.tcp.socket.end();
    await until(() => proxy.connections === 3);
    expect(opener.associations.map(({ isClosed }) => isClosed)).toEqual([false, true, false]);
  });

  it('a program with an exit too old for UDP is told nothing, and the user once', async () => {
    const { logger, lines } = collectingLogger();
    const { port: proxy, opener } = await proxyTo(0, { logger });
    opener.associationFault = 'service-unknown';
    const program = await UdpClient.open();
    const { port } = await associate(proxy);
    const warnings = () => lines.filter(({ level }) => level === 40);
    await until(() => {
      void program.send(wrap(TARGET, 'one'), port);
      return opener.attempts >= 2;
    });
    expect(warnings()).toHaveLength(1);
    expect(warnings()[0]?.message).toContain('too old');
  });
});
