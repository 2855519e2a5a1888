import { expect, it } from 'vitest';
import { isLocalhostName, isSpecialName } from '../../src/exit/special-names.ts';

it.each([
  'localhost',
  'foo.localhost',
  'a.b.localhost',
  'printer.local',
  'metadata.google.internal',
  'wstun.internal',
  'internal',
  'router.home.arpa',
  'home.arpa',
  'nas.lan',
  'fritz.home',
  'wiki.corp',
  'wiki.intranet',
  'db.private',
  'localhost.localdomain',
  'facebookcorewwwi.onion',
  'nothing.invalid',
  'a.test',
  'name.alt',
  'ipv4only.arpa',
  'resolver.arpa',
  '_dns.resolver.arpa',
  'default.service.arpa',
])('isSpecialName is true for %s', (name) => expect(isSpecialName(name)).toBe(true));

it.each([
  'example.com',
  'a.example',
  'localhost.example.com',
  'mylocalhost',
  'notlocal',
  'local.example',
  'test.example',
  'arpa',
  'xhome.arpa',
  '1.0.0.127.in-addr.arpa',
  'myhost',
  'landline',
])('isSpecialName is false for %s', (name) => expect(isSpecialName(name)).toBe(false));

it('isLocalhostName is true for localhost and all below it', () => {
  expect(['localhost', 'a.localhost', 'a.b.localhost'].every(isLocalhostName)).toBe(true);
  expect(['mylocalhost', 'localhost.example', 'local'].some(isLocalhostName)).toBe(false);
});
