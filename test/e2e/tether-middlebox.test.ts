/**
 * A network that lets the upgrade pass and nothing after it: the phone carries the session, and the direct connector
 * takes over once it works.
 */
import { describe, expect, it } from 'vitest';
import { slowProxy } from '../support/net/slow-proxy.ts';
import { ALL, swallowingProxy } from '../support/net/swallowing-proxy.ts';
import { tcpServer } from '../support/net/tcp.ts';
import { receive, sendPayload } from '../support/payload.ts';
import { invite, spawnClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { Phone } from '../support/tether/phone.ts';
import { nextCode } from '../support/tether/tethered.ts';

const MIB = 1024 * 1024;
/** So that the transfer lasts longer than the pause before the direct connector is tried again: 45 s. */
const FAR_LEG_BITS = 10_000_000;
const TRANSFER_BYTES = 54 * MIB;
/** 30 s, the handshake, and what a busy machine adds. */
const MOVES_WITHIN_MS = 40_000;

describe('a direct connector that carries only the upgrade', () => {
  it('a direct connector that carries only the upgrade leaves the session to the phone within seconds, and gets it back once it works', {
    timeout: 300_000,
  }, async () => {
    const relay = await startRelay();
    const middlebox = await swallowingProxy(relay.port);
    const mobile = await slowProxy(relay.port, FAR_LEG_BITS);
    const secret = await invite(relay, 'laptop', { allow: ['*'], url: `ws://localhost:${middlebox.port}` });
    const client = spawnClient(secret, { args: ['--tether', '127.0.0.1:0'] });
    // The relay's one address leads through the middlebox from the laptop, and around it from the phone.
    const rule = `--host-resolver-rules=MAP localhost:${middlebox.port} 127.0.0.1:${mobile}`;
    const phone = await Phone.start({ args: [rule] });
    const page = await phone.open(await nextCode(client));
    await client.event('tether-paired');
    const since = performance.now();
    const { listen } = await client.event('ready');
    expect(performance.now() - since).toBeLessThan(5_000);
    await page.until('active');
    expect(middlebox.upgrades.length).toBeGreaterThan(0);

    middlebox.allow(ALL);
    const sent: Promise<string>[] = [];
    const source = await tcpServer((socket) => void sent.push(sendPayload(socket, TRANSFER_BYTES, 2)));
    const proxy = Number(String(listen).replace(/^.*:/, ''));
    let isOver = false;
    const got = receive(await connectThrough('SOCKS5', proxy, source)).finally(() => {
      isOver = true;
    });
    await page.until('idle', MOVES_WITHIN_MS);
    expect(isOver).toBe(false);
    expect(middlebox.upgrades.at(-1)).toEqual({ allowance: ALL, givenUpAfter: undefined });
    expect(await got).toEqual({ bytes: TRANSFER_BYTES, hash: await sent[0] });
    expect(client.events.filter(({ event }) => event === 'session-lost')).toEqual([]);
    // The page is told nothing of it: the laptop has ended its link and asks for no other.
    await page.until('direct', 20_000);
  });
});
