import { expect, it } from 'vitest';
import { parseSocketAddress, sourceOfIp } from '../../src/net/address-source.ts';

it.each([
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['127.0.0.1', '127.0.0.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:DB8::1', '2001:db8:0:0::/64'],
  ['2a00::192.0.2.7', '2a00:0:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
])('limits count the address %s as %s', (address, source) => {
  expect(sourceOfIp(parseSocketAddress(address)!)).toBe(source);
});
