import type { NetworkInterfaceInfo } from 'node:os';
import { describe, expect, it } from 'vitest';
import { lanAddresses } from '../../../src/tether/laptop/lan-address.ts';

const v4 = (address: string, internal = false): NetworkInterfaceInfo[] => [
  { address, family: 'IPv4', internal, netmask: '255.255.255.0', mac: '00:00:00:00:00:00', cidr: `${address}/24` },
];

describe('the address for a phone', () => {
  it('the address for a phone is that of the Wi-Fi, then of a cable, then of other networks', () => {
    const interfaces = {
      lo: v4('127.0.0.1', true),
      docker0: v4('172.17.0.1'),
      tun0: v4('10.8.0.2'),
      eth0: v4('192.168.1.4'),
      wlp3s0: v4('192.168.1.5'),
      eth1: v4('203.0.113.9'),
    };
    const found = lanAddresses(interfaces);
    const likeliest = ['192.168.1.5', '192.168.1.4', '203.0.113.9', '172.17.0.1', '10.8.0.2'];
    expect(found.map(({ address }) => address)).toEqual(likeliest);
    const ranks = found.map(({ rank }) => rank);
    expect(ranks).toEqual(ranks.toSorted((a, b) => a - b));
    // Of the two on other networks neither is better.
    expect(new Set(ranks).size).toBe(4);
  });

  it('there is no address for a phone if there is only loopback', () => {
    expect(lanAddresses({ lo: v4('127.0.0.1', true), eth0: v4('169.254.3.4') })).toEqual([]);
    expect(lanAddresses({})).toEqual([]);
  });
});
