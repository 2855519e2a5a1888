import { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RelayAddresses } from '../../../src/transport/connection/relay-addresses.ts';
import { dialTcp, type Lookup, placeOf, type TcpDialOptions } from '../../../src/transport/connection/tcp-dial.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const PLACE = { host: 'relay.example', port: 443 };
const LIMIT_MS = 5_000;

/** Sockets that never leave the process: each answers when the test says so, or never. */
class FakeNetwork {
  readonly dialled: { readonly address: string; readonly at: number; readonly socket: Socket }[] = [];
  readonly connect = (address: string): Socket => {
    const socket = new Socket();
    this.dialled.push({ address, at: clock.now(), socket });
    return socket;
  };

  answer(address: string, code?: string): void {
    const socket = this.dialled.find((attempt) => attempt.address === address)?.socket;
    if (code === undefined) socket?.emit('connect');
    else socket?.destroy(Object.assign(new Error(code), { code }));
  }

  get live(): string[] {
    return this.dialled.filter(({ socket }) => !socket.destroyed).map(({ address }) => address);
  }

  get begun(): [string, number][] {
    return this.dialled.map(({ address, at }) => [address, at]);
  }
}

let clock: VirtualClock;
let network: FakeNetwork;
let known: RelayAddresses;
beforeEach(() => {
  clock = new VirtualClock();
  network = new FakeNetwork();
  known = new RelayAddresses();
});
afterEach(() => expect(clock.timers).toBe(0));

const resolvesTo =
  (...addresses: string[]): Lookup =>
  async () =>
    addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));

const failsWith =
  (code: string): Lookup =>
  () =>
    Promise.reject(Object.assign(new Error(code), { code }));

/** The address that won, or why none did. */
function dial(
  lookup: Lookup,
  signal = new AbortController().signal,
  host = PLACE.host,
  wishes: Pick<TcpDialOptions, 'prefer' | 'faultOfAddress'> = {},
): Promise<string> {
  const { connect } = network;
  return dialTcp({ ...PLACE, host, signal, limitMs: LIMIT_MS, known, connect, lookup, clock, ...wishes }).then(
    ({ address }) => address,
    (error: { code: string; fault?: string }) => error.fault ?? error.code,
  );
}

/** This much time, and what follows. */
const pass = (ms: number): Promise<void> => clock.advance(ms);

describe('the race of the addresses of a relay', () => {
  it('two addresses that drop everything delay a TCP dial by half a second', async () => {
    const dialled = dial(resolvesTo('10.0.0.98', '10.0.0.99', '10.0.0.3'));
    await pass(500);
    expect(network.begun).toEqual([
      ['10.0.0.98', 0],
      ['10.0.0.99', 250],
      ['10.0.0.3', 500],
    ]);
    network.answer('10.0.0.3');
    expect(await dialled).toBe('10.0.0.3');
    expect(network.live).toEqual(['10.0.0.3']);
  });

  it('an address that refuses does not delay a TCP dial, and the families alternate', async () => {
    const dialled = dial(resolvesTo('2001:db8::1', '2001:db8::2', '10.0.0.3'));
    await pass(0);
    network.answer('2001:db8::1', 'ECONNREFUSED');
    await pass(0);
    expect(network.begun).toEqual([
      ['2001:db8::1', 0],
      ['10.0.0.3', 0],
    ]);
    network.answer('10.0.0.3');
    expect(await dialled).toBe('10.0.0.3');
  });

  it('a TCP dial tries the address that worked last first', async () => {
    known.handleWorked(placeOf(PLACE), '10.0.0.3');
    const dialled = dial(resolvesTo('10.0.0.98', '10.0.0.99', '10.0.0.3'));
    await pass(0);
    expect(network.begun).toEqual([['10.0.0.3', 0]]);
    network.answer('10.0.0.3');
    expect(await dialled).toBe('10.0.0.3');
  });

  it('a TCP dial tries an address of the preferred version of IP first, and then all others', async () => {
    known.handleWorked(placeOf(PLACE), '10.0.0.2');
    const found = resolvesTo('10.0.0.1', '10.0.0.2', '2001:db8::1', '2001:db8::2');
    const dialled = dial(found, undefined, undefined, { prefer: 6 });
    await pass(750);
    expect(network.begun.map(([address]) => address)).toEqual(['2001:db8::1', '10.0.0.2', '10.0.0.1', '2001:db8::2']);
    network.answer('10.0.0.1');
    expect(await dialled).toBe('10.0.0.1');
  });

  it('a TCP dial leaves out addresses that must not be dialled, and says why where none is left', async () => {
    const faultOfAddress = (address: string) => (address.includes(':') ? 'NO_IPV4' : undefined);
    const dialled = dial(resolvesTo('2001:db8::1', '10.0.0.1'), undefined, undefined, { faultOfAddress });
    await pass(0);
    expect(network.begun).toEqual([['10.0.0.1', 0]]);
    network.answer('10.0.0.1');
    expect(await dialled).toBe('10.0.0.1');
    const none = dial(resolvesTo('2001:db8::1'), undefined, undefined, { faultOfAddress });
    expect(await none).toBe('NO_IPV4');
    expect(await dial(resolvesTo(), undefined, '2001:db8::1', { faultOfAddress })).toBe('NO_IPV4');
  });

  it('a TCP dial leaves out the address that worked last where it must not be dialled any more', async () => {
    const faultOfAddress = (address: string) => (address.includes(':') ? 'NO_IPV4' : undefined);
    known.handleWorked(placeOf(PLACE), '2001:db8::1');
    const wish = (lookup: Lookup) => dial(lookup, undefined, undefined, { faultOfAddress });
    expect(await wish(resolvesTo('2001:db8::1'))).toBe('NO_IPV4');
    expect(await wish(failsWith('EAI_AGAIN'))).toBe('EAI_AGAIN');
    expect(network.begun).toEqual([]);
    const dialled = wish(resolvesTo('192.168.0.1'));
    await pass(LIMIT_MS);
    expect(network.begun.map(([address]) => address)).toEqual(['192.168.0.1']);
    expect(await dialled).toBe('ETIMEDOUT');
  });

  it('a TCP dial whose addresses all fail reports the most specific failure', async () => {
    const dialled = dial(resolvesTo('2001:db8::1', '10.0.0.1', '10.0.0.2'));
    await pass(500);
    network.answer('2001:db8::1', 'ENETUNREACH');
    network.answer('10.0.0.1', 'ECONNREFUSED');
    network.answer('10.0.0.2', 'EHOSTUNREACH');
    expect(await dialled).toBe('ECONNREFUSED');
  });

  it('a TCP dial without an answer ends at its limit and leaves no socket', async () => {
    const dialled = dial(resolvesTo('10.0.0.1', '10.0.0.2'));
    await pass(LIMIT_MS);
    expect([await dialled, network.live]).toEqual(['ETIMEDOUT', []]);
  });

  it('a TCP dial that is cancelled leaves no socket', async () => {
    const controller = new AbortController();
    const dialled = dial(resolvesTo('10.0.0.1', '10.0.0.2'), controller.signal);
    await pass(300);
    controller.abort();
    expect([await dialled, network.live]).toEqual(['dial-cancelled', []]);
  });

  it('a TCP dial to an address does not use the resolver', async () => {
    const dialled = dial(failsWith('ENOTFOUND'), undefined, '2001:db8::7');
    await pass(0);
    network.answer('2001:db8::7');
    expect(await dialled).toBe('2001:db8::7');
  });
});

describe('a name that is not resolved', () => {
  it('a TCP dial fails with the code of the resolver', async () => {
    expect(await dial(failsWith('ENOTFOUND'))).toBe('ENOTFOUND');
  });

  it('a TCP dial fails with NAME_SLOW when the resolver does not answer', async () => {
    const dialled = dial(() => new Promise(() => {}));
    await pass(LIMIT_MS);
    expect(await dialled).toBe('NAME_SLOW');
  });

  it('a TCP dial to a name that cannot be resolved uses the address that worked last', async () => {
    known.handleWorked(placeOf(PLACE), '10.0.0.3');
    const dialled = dial(failsWith('EAI_AGAIN'));
    await pass(0);
    network.answer('10.0.0.3');
    expect(await dialled).toBe('10.0.0.3');
  });

  it('a TCP dial reports the failure of the resolver when the address that worked last fails, too', async () => {
    known.handleWorked(placeOf(PLACE), '10.0.0.3');
    const dialled = dial(failsWith('EAI_AGAIN'));
    await pass(0);
    network.answer('10.0.0.3', 'ECONNREFUSED');
    expect(await dialled).toBe('EAI_AGAIN');
  });

  it('a TCP dial uses the address that worked last after 1.5 s, and then those that the resolver returns late', async () => {
    known.handleWorked(placeOf(PLACE), '10.0.0.3');
    let answer: (found: { address: string; family: number }[]) => void = () => {};
    const dialled = dial(
      () =>
        new Promise((resolve) => {
          answer = resolve;
        }),
    );
    await pass(1_500);
    expect(network.begun).toEqual([['10.0.0.3', 1_500]]);
    answer([
      { address: '10.0.0.3', family: 4 },
      { address: '10.0.0.4', family: 4 },
    ]);
    await pass(250);
    expect(network.begun[1]).toEqual(['10.0.0.4', 1_750]);
    network.answer('10.0.0.4');
    expect(await dialled).toBe('10.0.0.4');
  });
});
