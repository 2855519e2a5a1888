/** How long a client is without a link whose browser was killed. */
import { expect, it } from 'vitest';
import { mainBrowserIn, START_LIMIT_MS, startViaBrowser } from '../support/tether/via-browser.ts';

const BACK_LIMIT_MS = 5_000;

it('a client whose browser is killed has a link again within 5 s', { timeout: 180_000 }, async () => {
  const { client, temp } = await startViaBrowser();
  process.kill(mainBrowserIn(temp)?.pid ?? 0, 'SIGKILL');
  const killedAt = performance.now();
  await client.event('resumed', START_LIMIT_MS);
  expect(performance.now() - killedAt).toBeLessThan(BACK_LIMIT_MS);
});
