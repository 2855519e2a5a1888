import { once } from 'node:events';
import { createServer, connect as netConnect, type Server, type Socket, Socket as TcpSocket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createDialer, interleave } from '../../src/exit/dialer.ts';
import { formatIp, type IpBytes, parseIp } from '../../src/net/ip.ts';
import { closedPort } from '../support/net/tcp.ts';
import { freePort } from '../support/programs/programs.ts';

const ip = (text: string) => parseIp(text)!;
const NEVER = () => new AbortController().signal;
const fault = (name: string) => expect.objectContaining({ fault: name }) as unknown;

const servers: Server[] = [];
const sockets: Socket[] = [];

async function listen(host: string, handle: (socket: Socket) => void = () => {}): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    handle(socket);
  });
  servers.push(server);
  server.listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
}

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
});

describe('real targets', () => {
  it.each(['127.0.0.1', '::1'])('the dialer connects to a real target at %s, with half-open allowed', async (host) => {
    const port = await listen(host);
    const socket = await createDialer()([ip(host)], port, NEVER());
    sockets.push(socket);
    expect(socket.remoteAddress).toBe(host);
    expect(socket.allowHalfOpen).toBe(true);
  });

  it.each(['127.0.0.1', '::1'])('the dialer reports dial-refused from %s', async (host) => {
    await expect(createDialer()([ip(host)], await closedPort(host), NEVER())).rejects.toEqual(fault('dial-refused'));
  });

  it('the dialer tries the next address at once when one refuses', async () => {
    const port = await listen('127.0.0.1');
    const took: number[] = [];
    // The quickest of several: a busy machine delays one or the other by more than the 250 ms that waiting would take.
    for (let i = 0; i < 5; i++) {
      const start = performance.now();
      const socket = await createDialer()([ip('::1'), ip('127.0.0.1')], port, NEVER());
      took.push(performance.now() - start);
      sockets.push(socket);
      expect(socket.remoteAddress).toBe('127.0.0.1');
    }
    expect(Math.min(...took)).toBeLessThan(200);
  });

  it('the dialer reports an address that takes no connections as this kernel does', async () => {
    await expect(createDialer()([ip('255.255.255.255')], 9, NEVER())).rejects.toEqual(
      expect.objectContaining({ fault: expect.stringMatching(/^dial-(network-unreachable|not-allowed)$/) as string }),
    );
  });

  it('the dialer refuses a socket that is connected to itself', async () => {
    const self = (address: IpBytes, port: number) => {
      // Binding the source port to the target's makes TCP's simultaneous open certain.
      return netConnect({ host: formatIp(address), port, localPort: port, localAddress: formatIp(address) });
    };
    await expect(createDialer(self)([ip('127.0.0.1')], await freePort(), NEVER())).rejects.toEqual(
      fault('dial-refused'),
    );
  });

  it('the dialer drops a socket that is connected to another address than was dialled', async () => {
    const port = await listen('127.0.0.1');
    const astray = (_: IpBytes, to: number) => netConnect({ host: '127.0.0.1', port: to });
    await expect(createDialer(astray)([ip('127.0.0.2')], port, NEVER())).rejects.toEqual(fault('dial-not-allowed'));
  });
});

describe('what a dialled socket reads', () => {
  it('a dialled socket reads everything in order, with pauses, and ends cleanly while the other direction continues', async () => {
    const sent = Buffer.alloc(5_000_000, 0);
    for (let i = 0; i < sent.length; i += 4) sent.writeUInt32LE(i, i);
    let answer = '';
    const port = await listen('127.0.0.1', (peer) => {
      peer.end(sent);
      peer.setEncoding('utf8').on('data', (text: string) => {
        answer += text;
      });
    });
    const socket = await createDialer()([ip('127.0.0.1')], port, NEVER());
    sockets.push(socket);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      socket.pause();
      setImmediate(() => socket.resume());
    });
    await once(socket, 'end');
    expect(Buffer.concat(chunks).equals(sent)).toBe(true);
    expect(Math.max(...chunks.map((chunk) => chunk.length))).toBeGreaterThan(64 * 1024);
    socket.end('after the end');
    await once(socket, 'close');
    await vi.waitFor(() => expect(answer).toBe('after the end'), 30_000);
  });

  it('a dialled socket stops reading while it has no reader', async () => {
    let written = 0;
    const port = await listen('127.0.0.1', (peer) => {
      const fill = () => {
        while (peer.write(Buffer.alloc(64 * 1024))) written += 64 * 1024;
        peer.once('drain', fill);
      };
      fill();
    });
    const socket = await createDialer()([ip('127.0.0.1')], port, NEVER());
    sockets.push(socket);
    let last = -1;
    await vi.waitFor(
      () => {
        const before = last;
        last = written;
        expect(before).toBe(written);
      },
      { interval: 50 },
    );
    expect(socket.readableLength).toBeLessThan(512 * 1024);
    expect(socket.bytesRead).toBe(socket.readableLength);
  });

  it('a dialled socket reports a reset by the target as a reset, never as an end', async () => {
    const port = await listen('127.0.0.1', (peer) => peer.once('data', () => peer.resetAndDestroy()));
    const socket = await createDialer()([ip('127.0.0.1')], port, NEVER());
    socket.write('go');
    let ended = false;
    socket.on('end', () => {
      ended = true;
    });
    socket.resume();
    // events.once would reject with the reset
    await new Promise((resolve) => socket.once('close', resolve));
    expect(ended).toBe(false);
  });
});

it('interleave alternates the families, IPv6 first', () => {
  const order = interleave(['1.1.1.1', '2::1', '1.1.1.2', '1.1.1.3', '2::2'].map(ip)).map(formatIp);
  expect(order).toEqual(['2::1', '1.1.1.1', '2::2', '1.1.1.2', '1.1.1.3']);
});

/** Sockets that never leave the process: each answers when the test says so, or never. */
class FakeNetwork {
  readonly dialled: { address: string; at: number; socket: Socket }[] = [];
  readonly connect = (address: IpBytes): Socket => {
    const socket = new TcpSocket();
    Object.defineProperty(socket, 'remoteAddress', { value: formatIp(address) });
    this.dialled.push({ address: formatIp(address), at: Date.now(), socket });
    return socket;
  };

  answer(index: number, code?: string): void {
    const socket = this.dialled[index]!.socket;
    if (code === undefined) socket.emit('connect');
    else socket.destroy(Object.assign(new Error(code), { code }));
  }

  get live(): number {
    return this.dialled.filter(({ socket }) => !socket.destroyed).length;
  }
}

describe('the race', () => {
  let network: FakeNetwork;
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'], now: 0 });
    network = new FakeNetwork();
  });
  afterEach(() => {
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  const dial = (addresses: string[], signal = NEVER()) => {
    const outcome = createDialer(network.connect)(addresses.map(ip), 80, signal).then(
      (socket) => socket,
      (error) => String(error.fault),
    );
    return outcome;
  };
  /** Lets the 'error' and 'close' events of destroyed sockets come. */
  const turn = () => new Promise(setImmediate);

  it('the dialer gives a dead address 250 ms, then dials the next as well; the first to connect wins, the other is destroyed', async () => {
    const outcome = dial(['2::1', '1.1.1.1', '1.1.1.2']);
    await vi.advanceTimersByTimeAsync(249);
    expect(network.dialled).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(network.dialled.map(({ address, at }) => [address, at])).toEqual([
      ['2::1', 0],
      ['1.1.1.1', 250],
    ]);
    network.answer(1);
    expect(await outcome).toBe(network.dialled[1]?.socket);
    expect(network.dialled[0]?.socket.destroyed).toBe(true);
    expect(network.live).toBe(1);
  });

  it('the dialer lets an earlier address win late', async () => {
    const outcome = dial(['2::1', '1.1.1.1']);
    await vi.advanceTimersByTimeAsync(9_000);
    network.answer(0);
    expect(await outcome).toBe(network.dialled[0]?.socket);
    expect(network.live).toBe(1);
  });

  it('the dialer keeps one socket when two connect at once', async () => {
    const outcome = dial(['2::1', '1.1.1.1']);
    await vi.advanceTimersByTimeAsync(250);
    network.answer(0);
    network.answer(1);
    expect(await outcome).toBe(network.dialled[0]?.socket);
    expect(network.live).toBe(1);
  });

  it('the dialer times out after 10 s, with nothing left', async () => {
    const outcome = dial(['2::1', '1.1.1.1']);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await outcome).toBe('dial-timed-out');
    expect(network.live).toBe(0);
  });

  it('the dialer tries addresses one after the other without spare sockets, and releases those it acquired', async () => {
    let spare = 0;
    const spares = { acquire: () => spare > 0 && spare-- > 0, release: () => void spare++ };
    const addresses = ['1.1.1.1', '1.1.1.2', '1.1.1.3'].flatMap((text) => parseIp(text) ?? []);
    const outcome = createDialer(network.connect)(addresses, 80, new AbortController().signal, spares);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(network.dialled).toHaveLength(1);
    spare = 1;
    await vi.advanceTimersByTimeAsync(1_000);
    expect([network.dialled.length, spare]).toEqual([2, 0]);
    network.answer(1);
    expect(await outcome).toBe(network.dialled[1]?.socket);
    expect(spare).toBe(1);
  });

  it('the dialer tries at most 8 addresses', async () => {
    const outcome = dial(Array.from({ length: 32 }, (_, i) => `1.1.1.${i}`));
    await vi.advanceTimersByTimeAsync(9_999);
    expect(network.dialled).toHaveLength(8);
    await vi.advanceTimersByTimeAsync(1);
    expect(await outcome).toBe('dial-timed-out');
  });

  it('the dialer stops when the peer gives up, with nothing left', async () => {
    const abort = new AbortController();
    const outcome = dial(['2::1', '1.1.1.1'], abort.signal);
    await vi.advanceTimersByTimeAsync(300);
    abort.abort();
    expect(await outcome).toBe('dial-cancelled');
    expect(network.live).toBe(0);
  });

  it('the dialer does not start for a peer that has given up', async () => {
    expect(await dial(['1.1.1.1'], AbortSignal.abort())).toBe('dial-cancelled');
    expect(network.dialled).toEqual([]);
  });

  it.each([
    [['ECONNREFUSED', 'ETIMEDOUT'], 'dial-refused'],
    [['ENETUNREACH', 'ECONNREFUSED'], 'dial-refused'],
    [['ECONNRESET', 'EHOSTUNREACH'], 'target-reset'],
    [['EHOSTUNREACH', 'ETIMEDOUT'], 'dial-timed-out'],
    [['ENETUNREACH', 'EHOSTUNREACH'], 'dial-host-unreachable'],
    [['ENETUNREACH', 'EMFILE'], 'dial-network-unreachable'],
    [['EADDRNOTAVAIL', 'EAFNOSUPPORT'], 'dial-network-unreachable'],
    [['EACCES', 'EPERM'], 'dial-not-allowed'],
    [['EMFILE', 'ENFILE'], 'dial-busy'],
    [['EINVAL', 'EINVAL'], 'dial-failed'],
  ])('the dialer reports for the errors %j the fault %s', async (codes, told) => {
    const outcome = dial(['2::1', '1.1.1.1']);
    network.answer(0, codes[0]);
    await turn();
    expect(network.dialled).toHaveLength(2);
    network.answer(1, codes[1]);
    expect(await outcome).toBe(told);
    expect(network.live).toBe(0);
  });

  it('the dialer reports the refusal if one address refuses and one is silent', async () => {
    const outcome = dial(['2::1', '1.1.1.1']);
    network.answer(0, 'ECONNREFUSED');
    await turn();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await outcome).toBe('dial-refused');
  });
});
