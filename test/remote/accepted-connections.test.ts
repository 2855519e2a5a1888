/**
 * Connections and datagrams that come from the exit, to real programs of this machine.
 * @module-tag waits
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { type Clock, systemClock } from '../../src/clock.ts';
import { ForwardLog } from '../../src/forward/forward-log.ts';
import { type Logger, silentLogger } from '../../src/observability/logger.ts';
import { AcceptedConnections, MAX_CONNECTIONS } from '../../src/remote/accepted-connections.ts';
import { parseRemoteForward } from '../../src/remote/remote-forward.ts';
import { MAX_FLOWS, UdpFlows } from '../../src/remote/udp-flows.ts';
import { FLOW_IDLE_MS } from '../../src/tunnel/stream/flow-table.ts';
import { collectingLogger } from '../support/collecting-logger.ts';
import { FakeConnection, ipTarget } from '../support/proxy/fake-tunnel.ts';
import { parseProxyV2 } from '../support/proxy-v2.ts';
import { atEnd } from '../support/scope.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';
import { until } from '../support/until.ts';

const REMOTE = ipTarget('198.51.100.7', 50_000);
const BOUND = ipTarget('192.0.2.1', 8080);

async function serve(handle: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    atEnd(() => socket.destroy());
    handle(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEnd(() => server.close());
  return (server.address() as AddressInfo).port;
}

function connect(
  forward: string,
  logger: Logger = silentLogger,
): { connection: FakeConnection; all: AcceptedConnections } {
  const all = new AcceptedConnections({ forward: parseRemoteForward(forward), logger });
  atEnd(() => all.close(0));
  const connection = new FakeConnection(REMOTE);
  all.handleConnection(connection, () => BOUND);
  return { connection, all };
}

async function received(connection: FakeConnection): Promise<Buffer> {
  const chunks: Buffer[] = [];
  connection.farEnd.on('data', (chunk: Buffer) => chunks.push(Buffer.from(chunk)));
  await once(connection.farEnd, 'end');
  return Buffer.concat(chunks);
}

describe('AcceptedConnections', () => {
  it('AcceptedConnections pipes a connection to where the forward leads, half-closes included', async () => {
    const port = await serve((socket) => {
      const chunks: Buffer[] = [];
      socket.on('data', (chunk) => chunks.push(chunk));
      socket.on('end', () => socket.end(Buffer.concat(chunks).toString('latin1').toUpperCase()));
    });
    const { connection } = connect(`8080:localhost:${port}`);
    connection.farEnd.end('hello');
    expect((await received(connection)).toString()).toBe('HELLO');
    await until(() => connection.calls.includes('release'));
    expect(connection.calls).toEqual(['accept', 'release']);
  });

  it('AcceptedConnections accepts only when it is connected, and refuses what nobody listens for', async () => {
    const port = await serve(() => {});
    const free = port === 65_535 ? 1 : 65_535;
    const { connection } = connect(`8080:127.0.0.1:${free}`);
    await until(() => connection.calls.includes('release'));
    expect(connection.calls).toEqual(['refuse dial-refused', 'release']);
    const unknown = connect('8080:no-such-name.invalid:80').connection;
    await until(() => unknown.calls.includes('release'), 10_000);
    expect(unknown.calls[0]).toMatch(/^refuse dial-name-(unknown|failed)$/);
  });

  it('AcceptedConnections drops a dial that the exit has given up', async () => {
    const port = await serve(() => {});
    const { connection } = connect(`8080:127.0.0.1:${port}`);
    connection.abandon();
    await until(() => connection.calls.includes('release'));
    expect(connection.calls).toEqual(['release']);
  });

  it('AcceptedConnections sends a reset on, both ways', async () => {
    const sockets: Socket[] = [];
    const port = await serve((socket) => sockets.push(socket));
    const first = connect(`8080:127.0.0.1:${port}`).connection;
    await until(() => sockets.length === 1);
    sockets[0]?.resetAndDestroy();
    await until(() => first.farEnd.destroyed);
    expect(first.farEnd.readableEnded).toBe(false);
    const second = connect(`8080:127.0.0.1:${port}`).connection;
    await until(() => sockets.length === 2);
    second.farEnd.destroy();
    await until(() => sockets[1]?.destroyed ?? false);
    expect(sockets[1]?.readableEnded).toBe(false);
  });

  it('AcceptedConnections sends a PROXY header first where it is asked for', async () => {
    const heads: Buffer[] = [];
    const port = await serve((socket) => socket.on('data', (chunk) => heads.push(chunk)));
    const { connection } = connect(`8080:127.0.0.1:${port}/proxy-v2`);
    connection.farEnd.write('GET');
    await until(() => Buffer.concat(heads).length === 31);
    const all = Buffer.concat(heads);
    expect(parseProxyV2(all.subarray(0, 28))).toEqual({
      ...{ command: 'PROXY', source: '198.51.100.7:50000', target: '192.0.2.1:8080' },
    });
    expect(all.toString('latin1', 28)).toBe('GET');
  });

  it('AcceptedConnections says once why it refuses a connection, and not where that was to go', async () => {
    const { logger, lines } = collectingLogger();
    const { connection, all } = connect('8080:no-such-name.invalid:7', logger);
    const second = new FakeConnection(REMOTE);
    all.handleConnection(second, () => BOUND);
    await until(() => [connection, second].every(({ calls }) => calls.includes('release')));
    expect(lines.filter(({ level }) => level === 40)).toHaveLength(1);
    expect(lines[0]?.message).toMatch(/^a connection to 127\.0\.0\.1:8080 at the exit was not forwarded: .*WSTUN-E3/);
    expect(JSON.stringify(lines)).not.toContain('no-such-name');
  });

  it('AcceptedConnections refuses more than it may have', async () => {
    const port = await serve(() => {});
    const { all } = connect(`8080:127.0.0.1:${port}`);
    for (let i = 1; i < MAX_CONNECTIONS; i++) all.handleConnection(new FakeConnection(REMOTE), () => BOUND);
    const further = new FakeConnection(REMOTE);
    all.handleConnection(further, () => BOUND);
    expect(further.calls).toEqual(['refuse dial-busy', 'release']);
  });

  it('AcceptedConnections resets what is open when its time is over', async () => {
    const port = await serve(() => {});
    const { connection, all } = connect(`8080:127.0.0.1:${port}`);
    await until(() => connection.calls.includes('accept'));
    await all.close(50);
    expect(connection.farEnd.destroyed).toBe(true);
    expect(connection.calls).toEqual(['accept', 'release']);
  });
});

describe('a forward to socks', () => {
  const request = (port: number, command = 1) =>
    Buffer.from([5, 1, 0, 5, command, 0, 1, 127, 0, 0, 1, port >> 8, port & 0xff]);

  it('a forward to socks connects where a SOCKS5 program asks, and passes what followed its request', async () => {
    const port = await serve((socket) => socket.pipe(socket));
    const { connection } = connect('socks');
    connection.farEnd.write(Buffer.concat([request(port), Buffer.from('early')]));
    connection.farEnd.end(' late');
    const got = await received(connection);
    expect(got.subarray(0, 4).toString('hex')).toBe('05000500');
    expect(got.toString('latin1', got.length - 10)).toBe('early late');
  });

  it('a forward to socks understands SOCKS4a, and names of this machine', async () => {
    const port = await serve((socket) => socket.end('here'));
    const { connection } = connect('socks');
    connection.farEnd.end(Buffer.from([4, 1, port >> 8, port & 0xff, 0, 0, 0, 1, 0, ...Buffer.from('localhost'), 0]));
    const got = await received(connection);
    expect(got[1]).toBe(0x5a);
    expect(got.toString('latin1', 8)).toBe('here');
  });

  it('a forward to socks tells refusals: of the target, of other commands, of what is not SOCKS', async () => {
    const refused = connect('socks').connection;
    refused.farEnd.write(request(1));
    expect((await received(refused))[3]).toBe(5);
    const bind = connect('socks').connection;
    bind.farEnd.write(request(80, 2));
    expect((await received(bind))[3]).toBe(7);
    const http = connect('socks').connection;
    http.farEnd.write('GET / HTTP/1.1\r\n\r\n');
    expect(await received(http)).toHaveLength(0);
    http.farEnd.end();
    await until(() => http.calls.includes('release'));
  });
});

describe('UdpFlows', () => {
  async function echo(): Promise<number> {
    const server = createSocket('udp4');
    server.on('message', (bytes, { port, address }) => server.send(bytes, port, address));
    server.bind(0, '127.0.0.1');
    await once(server, 'listening');
    atEnd(() => server.close());
    return server.address().port;
  }

  function flowsTo(host: string, port: number, { clock = systemClock as Clock, logger = silentLogger as Logger } = {}) {
    const log = new ForwardLog(logger, 'a datagram', clock);
    return new UdpFlows({ to: { host, port }, log, place: '0.0.0.0:53 at the exit', clock });
  }

  it('UdpFlows sends answers back to whom they belong', async () => {
    const flows = flowsTo('localhost', await echo());
    atEnd(() => flows.close());
    const got: string[] = [];
    for (let i = 0; i < 20; i++)
      flows.handleDatagram(Buffer.from(`to ${i}`), ipTarget('198.51.100.7', 1000 + i), (bytes, to) =>
        got.push(`${Buffer.from(bytes)} from ${to.port - 1000}`),
      );
    await until(() => got.length === 20);
    expect(got.every((line) => /^to (\d+) from \1$/.test(line))).toBe(true);
  });

  it('UdpFlows has at most 256 sockets: one that was idle for a second makes room, and none that is in use', async () => {
    const clock = new VirtualClock();
    const flows = flowsTo('127.0.0.1', await echo(), { clock });
    atEnd(() => flows.close());
    const got = new Set<number>();
    const send = (from: number) =>
      flows.handleDatagram(Buffer.of(1), ipTarget('198.51.100.7', from), (_bytes, to) => got.add(to.port));
    for (let i = 0; i < 2 * MAX_FLOWS; i++) send(i);
    expect(flows.size).toBe(MAX_FLOWS);
    // Some of such a burst may be lost.
    await until(() => {
      send(0);
      return got.has(0);
    });
    expect(got.has(2 * MAX_FLOWS - 1)).toBe(false);
    await clock.advance(1_000);
    send(0);
    await until(() => {
      send(2 * MAX_FLOWS - 1);
      send(0);
      return got.has(2 * MAX_FLOWS - 1);
    });
    expect(flows.size).toBe(MAX_FLOWS);
  });

  it('UdpFlows closes a socket after 120 s without a datagram', async () => {
    const clock = new VirtualClock();
    const flows = flowsTo('127.0.0.1', await echo(), { clock });
    flows.handleDatagram(Buffer.of(1), REMOTE, () => {});
    await clock.advance(FLOW_IDLE_MS - 20_000);
    expect(flows.size).toBe(1);
    await clock.advance(30_000);
    expect(flows.size).toBe(0);
    expect(clock.timers).toBe(0);
  });

  it('UdpFlows says once why a socket could not be opened, and tries again with the next datagram', async () => {
    const { logger, lines } = collectingLogger();
    const flows = flowsTo('no-such-name.invalid', 9, { logger });
    atEnd(() => flows.close());
    await until(() => {
      flows.handleDatagram(Buffer.of(1), REMOTE, () => {});
      return lines.length >= 3;
    });
    expect(flows.size).toBe(1);
    expect(lines.filter(({ level }) => level === 40)).toHaveLength(1);
    expect(lines[0]?.message).toMatch(/^a datagram to 0\.0\.0\.0:53 at the exit was not forwarded: .*WSTUN-E3/);
    expect(JSON.stringify(lines)).not.toContain('no-such-name');
  });

  it('UdpFlows survives a port at which no one listens', async () => {
    const flows = flowsTo('127.0.0.1', 1);
    atEnd(() => flows.close());
    for (let i = 0; i < 5; i++) {
      flows.handleDatagram(Buffer.of(i), REMOTE, () => {});
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(flows.size).toBe(1);
  });
});
