/**
 * The name server on real sockets of this machine.
 * @module-tag waits
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import packet from 'dns-packet';
import { describe, expect, it } from 'vitest';
import { framed, MessageReader } from '../../src/dns/framing.ts';
import { NameServer } from '../../src/name-server/name-server.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { answer, decode, edns, query } from '../support/dns-messages.ts';
import { FakeResolver } from '../support/proxy/fake-tunnel.ts';
import { atEnd } from '../support/scope.ts';
import { until } from '../support/until.ts';

/** A TXT record of about so many bytes. */
const txt = (name: string, bytes: number): packet.Answer => ({
  ...{ type: 'TXT', name, ttl: 60 },
  data: Array.from({ length: Math.ceil(bytes / 251) }, () => 'x'.repeat(250)),
});

/** The number in front of a name is how long its answer is. */
const answering = (asked: Buffer) => {
  const { name = '' } = packet.decode(asked).questions?.[0] ?? {};
  return answer(asked, [txt(name, Number.parseInt(name, 10))]);
};

async function start(answers: FakeResolver['answers'] = answering): Promise<NameServer> {
  const opener = new FakeResolver(answers);
  const server = new NameServer({ listen: { host: '127.0.0.1', port: 0 }, opener, logger: silentLogger });
  atEnd(() => server.close());
  await server.start();
  return server;
}

async function overUdp({ address }: NameServer, message: Uint8Array): Promise<packet.DecodedPacket> {
  const socket = createSocket('udp4');
  atEnd(() => socket.close());
  socket.send(message, address.port, address.host);
  const [reply] = await once(socket, 'message');
  return decode(reply);
}

function tcpProgram({ address }: NameServer) {
  const socket = connect({ ...address, allowHalfOpen: true });
  atEnd(() => socket.destroy());
  const reader = new MessageReader();
  const got: packet.DecodedPacket[] = [];
  socket.on('data', (bytes) => got.push(...reader.receive(bytes).map(decode)));
  return { socket, got, send: (message: Uint8Array) => socket.write(framed(message)) };
}

describe('the name server on sockets', () => {
  it('the name server answers over UDP and TCP at the same port', async () => {
    const server = await start();
    expect(await overUdp(server, query('100.example', 'TXT'))).toMatchObject({
      flag_tc: false,
      answers: [{ type: 'TXT' }],
    });
    const program = tcpProgram(server);
    program.send(query('100.example', 'TXT', { id: 5 }));
    await until(() => program.got.length === 1);
    expect(program.got[0]).toMatchObject({ id: 5, answers: [{ type: 'TXT' }] });
  });

  it('the name server truncates a long answer over UDP, and gives all of its 64 KiB over TCP', async () => {
    const server = await start();
    const asked = query('65000.example', 'TXT', { additionals: [edns(4096)] });
    expect(await overUdp(server, asked)).toMatchObject({ flag_tc: true, answers: [] });
    const program = tcpProgram(server);
    program.send(asked);
    await until(() => program.got.length === 1);
    const [record] = program.got[0]?.answers ?? [];
    expect(record?.type === 'TXT' && Buffer.concat(record.data as Buffer[])).toHaveLength(
      Math.ceil(65_000 / 251) * 250,
    );
  });

  it('the name server answers many queries of one connection, also when its program has ended its direction', async () => {
    const server = await start();
    const program = tcpProgram(server);
    for (let id = 0; id < 300; id++) program.send(query(`100.n${id}.example`, 'TXT', { id }));
    program.socket.end();
    await once(program.socket, 'end');
    expect(program.got.map(({ id }) => id).sort((a, b) => (a ?? 0) - (b ?? 0))).toEqual([...Array(300).keys()]);
  });

  it('the name server does not read on from a program that takes no answers', async () => {
    const server = await start();
    const program = tcpProgram(server);
    program.socket.pause();
    const asked = query('60000.example', 'TXT');
    for (let id = 0; id < 2_000; id++) program.send(asked);
    await until(() => program.socket.writableLength === 0);
    const before = process.memoryUsage().arrayBuffers;
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * 1024 * 1024);
    program.socket.resume();
    await until(() => program.got.length === 2_000, 20_000);
  });

  it('the name server survives rubbish over UDP and TCP, and answers others meanwhile', async () => {
    const server = await start();
    const socket = createSocket('udp4');
    atEnd(() => socket.close());
    for (let length = 0; length < 40; length++)
      socket.send(Buffer.alloc(length, 0xff), server.address.port, '127.0.0.1');
    const program = tcpProgram(server);
    program.socket.write(Buffer.alloc(70_000, 0xff));
    program.socket.end();
    await once(program.socket, 'close');
    expect(await overUdp(server, query('10.example', 'TXT'))).toMatchObject({ answers: [{ type: 'TXT' }] });
  });

  it('the name server says which address it cannot listen on, and leaves nothing open', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    atEnd(() => other.close());
    const { port } = other.address() as { port: number };
    const opener = new FakeResolver(answering);
    const server = new NameServer({ listen: { host: '127.0.0.1', port }, opener, logger: silentLogger });
    await expect(server.start()).rejects.toMatchObject({
      fault: 'cannot-listen',
      message: expect.stringContaining('--dns-listen'),
    });
    const udp = createSocket('udp4');
    udp.bind(0, '127.0.0.1');
    await once(udp, 'listening');
    atEnd(() => udp.close());
    const second = new NameServer({
      listen: { host: '127.0.0.1', port: udp.address().port },
      opener,
      logger: silentLogger,
    });
    await expect(second.start()).rejects.toMatchObject({ fault: 'cannot-listen' });
    const free = connect(udp.address().port, '127.0.0.1');
    const [error] = await once(free, 'error');
    expect(error).toMatchObject({ code: 'ECONNREFUSED' });
  });
});
