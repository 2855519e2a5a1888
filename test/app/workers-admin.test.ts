/** @module-tag waits */
import { expect, it } from 'vitest';
import type { Readiness } from '../../src/app/relay-node.ts';
import { openAdminOfWorkers } from '../../src/app/workers-admin.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { PATIENCE } from '../support/patience.ts';
import { atEnd } from '../support/scope.ts';

it('the readiness page of workers says what one of them lacks, and why none serves', async () => {
  let said: readonly Readiness[] = [];
  const reports = async () => said.map((report, index) => ({ worker: `0${index}01`, report }));
  const admin = await openAdminOfWorkers({ host: '127.0.0.1', port: 0 }, { reports, logger: silentLogger });
  atEnd(() => admin.close());
  const read = async (): Promise<string> => (await fetch(`http://127.0.0.1:${admin.address.port}/readyz`)).text();
  const becomes = (text: string) => expect.poll(read, { timeout: 5_000 * PATIENCE }).toBe(text);
  expect(await read()).toBe('not ready: starting\n');
  await becomes('not ready: no worker serves\n');
  said = [{ why: 'starting' }, { lacking: 'the cluster has been away for 3 s' }];
  await becomes('ready, but the cluster has been away for 3 s\n');
  said = [{}, { why: 'starting' }];
  await becomes('ready\n');
  said = [{ why: 'draining' }];
  await becomes('not ready: draining\n');
});
