/**
 * What memory a phone's page takes: headless Chromium as the phone, real processes for the rest. FIGURES=1 prints what
 * was measured.
 */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { LinkRecorder } from '../support/links/link-recorder.ts';
import { slowProxy } from '../support/net/slow-proxy.ts';
import { tcpServer } from '../support/net/tcp.ts';
import { sendEndlessly } from '../support/payload.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { atEnd } from '../support/scope.ts';
import { rawLink } from '../support/tether/page-link.ts';
import { startTethered } from '../support/tether/tethered.ts';

const LIMIT_MS = 120_000;

describe('the page’s memory', () => {
  it('the page needs little memory with a fast laptop and a relay at 1 Mbit/s', { timeout: LIMIT_MS }, async () => {
    const { port, phone } = await startTethered({
      relayUrl: async (relay) => `ws://127.0.0.1:${await slowProxy(relay.port, 1_000_000)}`,
    });
    const target = await tcpServer((socket) => void socket.resume());
    const growth = await phone.growth();
    const opening = Array.from({ length: 4 }, () => connectThrough('SOCKS5', port, target));
    for (const socket of await Promise.all(opening)) sendEndlessly(socket);
    let peak = 0;
    for (const deadline = performance.now() + 8_000; performance.now() < deadline; ) {
      peak = Math.max(peak, growth());
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    if (process.env.FIGURES) process.stderr.write(`${peak.toFixed(1)} MiB more than at rest\n`);
    expect(peak).toBeLessThan(40);
  });

  it('the page ends a link whose relay sends while the laptop does not read, so that its memory is bounded', {
    timeout: LIMIT_MS,
  }, async () => {
    const { near, far, phone } = await rawLink();
    const at = new LinkRecorder(near);
    near.pause();
    const growth = await phone.growth();
    const message = randomBytes(60_000);
    let peak = 0;
    // Not as fast as it takes: a link that has ended takes everything, for ever.
    const flood = setInterval(() => {
      for (let i = 0; i < 20 && far.link.send([message]); i++);
    }, 5);
    atEnd(() => clearInterval(flood));
    while (far.at.closes.length === 0) {
      peak = Math.max(peak, growth());
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(far.at.closes[0]?.clean).toBe(false);
    if (process.env.FIGURES) process.stderr.write(`${peak.toFixed(1)} MiB at most\n`);
    // 8 MiB wait, in the copies that the browser makes of them, and garbage until it collects it.
    expect(peak).toBeLessThan(40);
    near.resume();
    await at.untilClosed();
    expect(at.closes[0]?.clean).toBe(false);
  });
});
