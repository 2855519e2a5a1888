/** BIND, with fake listeners in place of the exit's, and the client of the package `socks` as the program. */
import { once } from 'node:events';
import { SocksClient } from 'socks';
import { describe, expect, it, vi } from 'vitest';
import { BIND_WAIT_MS, MAX_BINDS } from '../../src/proxy/socks-bind.ts';
import { ipTarget } from '../support/net/targets.ts';
import { Client } from '../support/net/tcp.ts';
import { FakeListeners } from '../support/proxy/fake-tunnel.ts';
import { proxyTo } from '../support/proxy/proxy.ts';
import { until } from '../support/until.ts';

const PEER = '198.51.100.7';
/** SOCKS5 BIND for a connection from PEER. */
const BIND = [5, 1, 0, 5, 2, 0, 1, 198, 51, 100, 7, 0, 21];

async function start() {
  const listeners = new FakeListeners();
  const { port, proxy } = await proxyTo(0, { listeners });
  return { listeners, port, proxy };
}

/** The second bytes of its replies after the greeting's. */
const codesOf = ({ received }: Client) => [received[3], received[13]];

describe('SOCKS BIND', () => {
  it.each([4, 5] as const)(
    'SOCKS%i BIND tells where the exit listens, then who has connected, and pipes',
    async (type) => {
      const { listeners, port } = await start();
      const program = new SocksClient({
        ...{ command: 'bind', proxy: { host: '127.0.0.1', port, type } },
        destination: { host: PEER, port: 21 },
      });
      const bound = once(program, 'bound');
      const established = once(program, 'established');
      await program.connect();
      const [first] = await bound;
      expect(first.remoteHost).toEqual({ host: '192.0.2.1', port: 8000 });
      const connection = listeners.tcp[0]?.connect(ipTarget(PEER, 20));
      const [{ socket, remoteHost }] = await established;
      expect(remoteHost).toEqual({ host: PEER, port: 20 });
      connection?.farEnd.resume().end('data');
      socket.resume();
      const [chunk] = await once(socket, 'data');
      expect(String(chunk)).toBe('data');
      expect(listeners.tcp).toEqual([]);
      socket.destroy();
      await until(() => connection?.calls.at(-1) === 'release');
    },
  );

  it('SOCKS BIND listens on all addresses of the family of who is expected, and on loopback for loopback', async () => {
    const { listeners, port } = await start();
    new Client(port).send(BIND);
    await until(() => listeners.tcp.length === 1);
    expect(listeners.tcp[0]?.address).toEqual(ipTarget('0.0.0.0', 0));
    const v6 = [5, 1, 0, 5, 2, 0, 4, 0x20, 1, 0xd, 0xb8];
    new Client(port).send([...v6, ...new Uint8Array(12), 0, 21]);
    await until(() => listeners.tcp.length === 2);
    expect(listeners.tcp[1]?.address).toEqual({ kind: 'ip', ip: new Uint8Array(16), port: 0 });
    new Client(port).send([5, 1, 0, 5, 2, 0, 1, 127, 0, 0, 5, 0, 21]);
    await until(() => listeners.tcp.length === 3);
    expect(listeners.tcp[2]?.address).toEqual(ipTarget('127.0.0.1', 0));
  });

  it('SOCKS BIND refuses a connection of anyone else, and takes one of anyone for an address of zeros', async () => {
    const { listeners, port } = await start();
    const program = new Client(port).send(BIND);
    await until(() => listeners.tcp.length === 1);
    const other = listeners.tcp[0]?.connect(ipTarget('203.0.113.1', 20));
    expect(other?.calls).toEqual(['refuse dial-refused', 'release']);
    const expected = listeners.tcp[0]?.connect(ipTarget(PEER, 20));
    await until(() => program.received.length === 22);
    expect(expected?.calls).toEqual(['accept']);
    const anyone = new Client(port).send([5, 1, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0]);
    await until(() => listeners.tcp.length === 1);
    listeners.tcp[0]?.connect(ipTarget('203.0.113.1', 20));
    await until(() => anyone.received.length === 22);
    expect(codesOf(anyone)).toEqual([0, 0]);
  });

  it('SOCKS BIND takes one connection and refuses a second', async () => {
    const { listeners, port } = await start();
    new Client(port).send(BIND);
    await until(() => listeners.tcp.length === 1);
    const [listener] = listeners.tcp;
    listener?.connect(ipTarget(PEER, 20));
    expect(listener?.connect(ipTarget(PEER, 20)).calls).toEqual(['refuse dial-refused', 'release']);
  });

  it('SOCKS BIND tells what the exit says: 2 for what is not allowed, 7 for an exit that is too old', async () => {
    const { listeners, port } = await start();
    for (const [fault, code] of [
      ['listen-not-allowed', 2],
      ['service-unknown', 7],
      ['listen-failed', 1],
    ] as const) {
      listeners.fault = fault;
      const program = new Client(port).send(BIND);
      await program.rest();
      expect(codesOf(program)[0]).toBe(code);
    }
    const name = new Client(port).send([5, 1, 0, 5, 2, 0, 3, 1, 97, 0, 21]);
    await name.rest();
    expect(codesOf(name)[0]).toBe(8);
  });

  it('SOCKS BIND gives the port back when its program has gone, and when the listener is lost', async () => {
    const { listeners, port } = await start();
    const program = new Client(port).send(BIND);
    await until(() => listeners.tcp.length === 1);
    program.socket.resetAndDestroy();
    await until(() => listeners.tcp.length === 0);
    const second = new Client(port).send(BIND);
    await until(() => second.received.length === 12);
    listeners.loseAll('link-lost');
    await second.rest();
    expect(codesOf(second)).toEqual([0, 1]);
  });

  it('SOCKS BIND waits 60 s for a connection', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const { listeners, port } = await start();
      const program = new Client(port).send(BIND);
      while (program.received.length < 12) await new Promise(setImmediate);
      vi.advanceTimersByTime(BIND_WAIT_MS);
      while (program.received.length < 22) await new Promise(setImmediate);
      expect(codesOf(program)).toEqual([0, 6]);
      expect(listeners.tcp).toEqual([]);
    } finally {
      vi.useRealTimers();
    }
  });

  it('SOCKS BIND has at most 16 ports at once', async () => {
    const { listeners, port } = await start();
    for (let i = 0; i < MAX_BINDS; i++) new Client(port).send(BIND);
    await until(() => listeners.tcp.length === MAX_BINDS);
    const further = new Client(port).send(BIND);
    await further.rest();
    expect(codesOf(further)[0]).toBe(1);
  });
});
