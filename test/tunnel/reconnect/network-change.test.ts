import type { NetworkInterfaceInfo } from 'node:os';
import { describe, expect, it } from 'vitest';
import {
  classifyChange,
  describeAddresses,
  describeRoutes,
  type NetworkSnapshot,
} from '../../../src/tunnel/reconnect/network-change.ts';

const INTERVAL_MS = 3_000;
const START: NetworkSnapshot = { wallMs: 1e12, monotonicMs: 500, addresses: 'eth0 10.0.0.7', routes: 'eth0 A 0' };

/** What is judged of a look one interval later, but for `changes`. */
function judged(changes: Partial<NetworkSnapshot> & { lateMs?: number; jumpMs?: number }, before = START) {
  const { lateMs = 0, jumpMs = 0, ...rest } = changes;
  const ranMs = INTERVAL_MS + lateMs;
  const now = { ...START, wallMs: START.wallMs + ranMs + jumpMs, monotonicMs: START.monotonicMs + ranMs, ...rest };
  return classifyChange(before, now, INTERVAL_MS);
}

describe('classifyChange', () => {
  it('classifyChange finds no change where all is the same, or a little late', () => {
    expect([judged({}), judged({ lateMs: 4_900 }), judged({ jumpMs: 4_900 })]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('classifyChange finds a sleep where the calendar ran ahead, or the snapshot is late on a clock that runs on', () => {
    expect([judged({ jumpMs: 5_100 }), judged({ lateMs: 5_100 })]).toEqual(['slept', 'slept']);
  });

  it('classifyChange finds no sleep where the clock was set back', () => {
    expect(judged({ jumpMs: -3_600_000 })).toBeUndefined();
  });

  it('classifyChange reports changed addresses before changed routes, and sleep before both', () => {
    const [addresses, routes] = ['wlan0 10.1.1.1', 'wlan0 B 600'];
    expect([judged({ addresses }), judged({ routes }), judged({ addresses, routes })]).toEqual([
      'addresses',
      'route',
      'addresses',
    ]);
    expect(judged({ addresses, routes, jumpMs: 60_000 })).toBe('slept');
  });

  it('classifyChange finds no change where something is unknown', () => {
    const unknown = { ...START, addresses: undefined, routes: undefined };
    expect([judged({}, unknown), judged({ addresses: undefined, routes: undefined })]).toEqual([undefined, undefined]);
  });

  it('classifyChange finds a change where all addresses are lost', () => {
    expect(judged({ addresses: '' })).toBe('addresses');
  });
});

describe('describeAddresses', () => {
  const info = (address: string, internal = false): NetworkInterfaceInfo =>
    ({ address, internal, family: address.includes(':') ? 'IPv6' : 'IPv4' }) as NetworkInterfaceInfo;

  it('describeAddresses has names and addresses in one order, without loopback and link-local ones', () => {
    const addresses = {
      lo: [info('127.0.0.1', true)],
      wlan0: [info('fe80::1'), info('10.0.0.7')],
      eth0: [info('fd00::2')],
    };
    expect(describeAddresses(addresses)).toBe('eth0 fd00::2\nwlan0 10.0.0.7');
    expect(describeAddresses({ ...addresses, veth1: [info('fe80::fc00'), info('169.254.3.4')] })).toBe(
      describeAddresses(addresses),
    );
  });

  it('describeAddresses is empty where there is no network', () => {
    expect([describeAddresses({}), describeAddresses({ lo: [info('127.0.0.1', true)], x: undefined })]).toEqual([
      '',
      '',
    ]);
  });
});

describe('describeRoutes', () => {
  const HEADER = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT   ';
  const v4 = (name: string, gateway: string, used = 0) =>
    `${name}\t00000000\t${gateway}\t0003\t0\t${used}\t600\t00000000\t0\t0\t0    `;
  const NETWORK = 'eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0   ';
  const HALF = 'tun0\t00000000\t01020304\t0003\t0\t0\t0\t00000080\t0\t0\t0   ';
  const zero = '0'.repeat(32);
  const v6 = (name: string, gateway: string, references = 1) =>
    `${zero} 00 ${zero} 00 ${gateway} 00000400 0000000${references} 00000000 00000003     ${name}`;
  const REJECT = `${zero} 00 ${zero} 00 ${zero} ffffffff 00000001 00000000 00200200       lo`;

  it('describeRoutes has only the default routes, of both families, in one order', () => {
    const route = [HEADER, NETWORK, HALF, v4('wlan0', '0101A8C0'), v4('eth0', '010200C0'), ''].join('\n');
    const gateway = `fe80${'0'.repeat(27)}1`;
    expect(describeRoutes(route, [v6('eth0', gateway), REJECT, ''].join('\n'))).toBe(
      `eth0 ${gateway} 00000400\neth0 010200C0 600\nwlan0 0101A8C0 600`.split('\n').sort().join('\n'),
    );
  });

  it('describeRoutes does not change as routes are used', () => {
    const gateway = '1'.repeat(32);
    expect(describeRoutes(v4('eth0', '010200C0', 9), v6('eth0', gateway, 7))).toBe(
      describeRoutes(v4('eth0', '010200C0'), v6('eth0', gateway)),
    );
  });

  it('describeRoutes is empty for empty and malformed lists', () => {
    expect([describeRoutes('', ''), describeRoutes(`${HEADER}\n`, 'nonsense\n\n00000000')]).toEqual(['', '']);
  });
});
