import { expect, it } from 'vitest';
import { describeTarget } from '../../src/observability/logger.ts';
import { ipTarget } from '../support/net/targets.ts';

it.each([
  [ipTarget('192.0.2.1', 443), { kind: 'ipv4', host: '192.0.2.1', port: 443 }],
  [ipTarget('2001:db8::1', 443), { kind: 'ipv6', host: '2001:db8::1', port: 443 }],
  [
    { kind: 'name' as const, name: 'example.org', port: 80 },
    { kind: 'name', host: 'example.org', port: 80 },
  ],
])('a log line shows the target of a stream as text: %j', (target, logged) => {
  expect(describeTarget(target)).toEqual(logged);
});
