import type { NetworkInterfaceInfo } from 'node:os';
import { expect, it } from 'vitest';
import { createOwnEndpoints } from '../../src/exit/own-endpoints.ts';
import { formatIp, parseIp } from '../../src/net/ip.ts';

it('own endpoints are the interfaces’ addresses, read every 5 s, the public addresses, and the current ports', () => {
  let now = 0;
  let addresses = ['127.0.0.1', 'fe80::1', '192.0.2.1'];
  let ports = [80];
  let outside = ['198.51.100.1'];
  const own = createOwnEndpoints({
    ports: () => ports,
    publicAddresses: () => outside.map((text) => parseIp(text)!),
    interfaces: () => ({ lo: undefined, eth0: addresses.map((address) => ({ address }) as NetworkInterfaceInfo) }),
    now: () => now,
  });
  expect(own().addresses.map(formatIp)).toEqual(['198.51.100.1', '127.0.0.1', 'fe80::1', '192.0.2.1']);
  addresses = ['192.0.2.2'];
  ports = [80, 443];
  outside = ['198.51.100.9'];
  now = 4_999;
  expect(own().addresses).toHaveLength(4);
  expect(own().ports).toEqual([80, 443]);
  now = 5_000;
  expect(own().addresses.map(formatIp)).toEqual(['198.51.100.9', '192.0.2.2']);
});

it('own endpoints are found on this machine', () => {
  const own = createOwnEndpoints({ ports: () => [] });
  expect(own().addresses.map(formatIp)).toContain('127.0.0.1');
});
