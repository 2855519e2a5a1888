/** Whose answers count, of the queries for the relay's name. */
import { expect, it } from 'vitest';
import { isOneOf } from '../../src/vpn/name-servers.ts';

it('takes answers only from a name server that was asked, however its address is written', () => {
  const servers = ['192.0.2.1', '2001:DB8:0::1', 'fe80::1%eth0'];
  for (const sender of ['192.0.2.1', '2001:db8::1', 'fe80::1%2']) expect(isOneOf(servers, sender)).toBe(true);
  for (const sender of ['192.0.2.2', '2001:db8::2', '', 'x']) expect(isOneOf(servers, sender)).toBe(false);
  expect(isOneOf(['x'], 'y')).toBe(false);
});
