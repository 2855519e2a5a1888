/** `wstun client --via-browser` with a browser that cannot carry: what the client says, and what it does about it. */
import { describe, expect, it } from 'vitest';
import { wstun } from '../support/programs/wstun-process.ts';
import { invite, startRelay } from '../support/programs/wstun-stack.ts';
import { CarryingPage } from '../support/tether/carrying-page.ts';
import { nextCode } from '../support/tether/tethered.ts';
import { START_LIMIT_MS, spawnViaBrowser } from '../support/tether/via-browser.ts';

describe('a browser that does not carry', () => {
  it('a program that is not there ends the client with what to do', async () => {
    const { code, stderr } = await wstun(['client', '--listen', '127.0.0.1:0', '--via-browser=/nowhere/chrome'], {
      env: { WSTUN_INVITE: await invite(await startRelay(), 'laptop') },
    });
    expect(code).toBe(78);
    expect(stderr).toMatch(/there is no program \/nowhere\/chrome\. Install .*--via-browser=open\. \(WSTUN-E141\)\n$/);
  });

  it('a program that ends at once is started again with growing pauses, and the client says so', async () => {
    const secret = await invite(await startRelay(), 'laptop');
    const { client } = await spawnViaBrowser(secret, { args: ['--via-browser=/bin/false'] });
    for (const waitMs of [0, 0, 1_000, 2_000]) {
      const ended = await client.event('browser-ended');
      expect(ended).toMatchObject({ waitMs, message: expect.stringMatching(/^the browser ended: exit code 1\. .*-v/) });
    }
  });

  it('a phone carries where the browser does not', async () => {
    const secret = await invite(await startRelay(), 'laptop');
    const args = ['--via-browser=/bin/false', '--tether', '127.0.0.1:0'];
    const { client } = await spawnViaBrowser(secret, { args });
    const page = await CarryingPage.join(await nextCode(client));
    await client.event('ready');
    expect(page.links.length).toBeGreaterThan(0);
  });

  it('with --once, a browser that never opens the page ends the client', async () => {
    const secret = await invite(await startRelay(), 'laptop');
    const { client } = await spawnViaBrowser(secret, { args: ['--via-browser=/bin/false', '--once'] });
    expect(await client.event('browser-ended')).toMatchObject({ code: 'WSTUN-E142' });
    expect(await client.exited).toBe(78);
  });

  it('a relay that the browser cannot reach is reported within 5 s, with what a person can do', async () => {
    const relay = await startRelay();
    const secret = await invite(relay, 'laptop');
    await relay.process.kill();
    const { client } = await spawnViaBrowser(secret);
    await client.event('browser-connected', START_LIMIT_MS);
    expect(await client.event('browser-offline', 5_000)).toMatchObject({
      code: 'WSTUN-E231',
      message: expect.stringMatching(/the browser cannot reach the relay\. .*use --via-browser=open\./),
    });
    await startRelay({ state: relay.state, port: relay.port });
    await client.event('ready', START_LIMIT_MS);
  });
});
