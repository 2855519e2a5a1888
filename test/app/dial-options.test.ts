/** The option `hosts` on a machine with a search domain. */
import { expect, it, onTestFinished, vi } from 'vitest';
import { diallingOf } from '../../src/app/dial-options.ts';
import { parseIp } from '../../src/net/ip.ts';
import { silentLogger } from '../../src/observability/logger.ts';

it('a name of `hosts` in any case is looked up alone, below no search domain', async () => {
  vi.stubEnv('LOCALDOMAIN', 'corp.example');
  onTestFinished(() => void vi.unstubAllEnvs());
  const { resolver, publicAddresses } = diallingOf({ hosts: { Wiki: '192.0.2.7' } }, silentLogger);
  onTestFinished(() => publicAddresses.stop());
  expect(resolver.fullNamesOf('other')).toEqual(['other.corp.example', 'other']);
  const names = resolver.fullNamesOf('wiki');
  expect(names).toEqual(['wiki']);
  const found = await resolver.resolve(names, AbortSignal.timeout(1_000));
  expect(found).toEqual({ name: 'wiki', addresses: [parseIp('192.0.2.7')] });
});
