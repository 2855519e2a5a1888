/** `wstun client --via-browser` with Firefox, which has no pipe that would end it with the client. */
import { expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { browsersIn, startViaBrowser } from '../support/tether/via-browser.ts';
import { until } from '../support/until.ts';

it('Firefox carries, and does not outlive a client that is killed', async () => {
  const { client, port, temp } = await startViaBrowser({ args: ['--via-browser=firefox-esr'] });
  const { sent, received } = await exchange(await connectThrough('SOCKS5', port, await tcpServer(echo)), 1_000_000, 1);
  expect(received).toEqual({ bytes: 1_000_000, hash: sent });
  expect(browsersIn(temp).length).toBeGreaterThan(1);
  await client.kill();
  await until(() => browsersIn(temp).length === 0, 5_000);
});
