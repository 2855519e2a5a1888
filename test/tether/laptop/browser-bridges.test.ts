/** Which page carries the links, and what happens to them when it fails: with pages that are not browsers. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { PING_MS } from '../../../src/tether/laptop/tether-limits.ts';
import { encodeMessage } from '../../../src/tether/shared/messages.ts';
import { Seal } from '../../../src/tether/shared/pairing.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { faultOf } from '../../support/faults.ts';
import {
  FakePage,
  openSocket,
  pair,
  type RunningTether,
  startTether,
  statusOf,
} from '../../support/links/fake-page.ts';
import { LinkRecorder } from '../../support/links/link-recorder.ts';
import { never } from '../../support/never.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';
import { until } from '../../support/until.ts';

const URL = 'wss://relay.example.org/a/ticket';

/** Dials, and lets the page open the link. */
async function linkBy(
  tether: RunningTether,
  page: FakePage,
): Promise<{ link: MessageLink; at: LinkRecorder; local: import('ws').WebSocket }> {
  const dialled = tether.server.dial(() => URL, never).then((link) => ({ link, at: new LinkRecorder(link) }));
  const local = await page.openLocal((await page.nextOpen()).link);
  return { ...(await dialled), local };
}

/** The time between two pings, and what follows over the real sockets. */
async function passPing(clock: VirtualClock, ...pages: readonly FakePage[]): Promise<void> {
  const seen = pages.map(({ pings }) => pings);
  await clock.advance(PING_MS);
  await until(() => pages.every(({ pings, socket }, i) => pings > (seen[i] ?? 0) || socket.readyState > socket.OPEN));
  await Promise.all(pages.filter(({ socket }) => socket.readyState === socket.OPEN).map((page) => page.heard()));
}

async function faultOfDial(dial: Promise<unknown>): Promise<string | undefined> {
  return await dial.then(
    () => 'none',
    (error: unknown) =>
      faultOf(() => {
        throw error;
      }),
  );
}

describe('a dial through a page', () => {
  it('a dial waits for a page and returns its link, which carries whole messages both ways', async () => {
    const tether = await startTether();
    const dialled = tether.server.dial(() => URL, never).then((link) => ({ link, at: new LinkRecorder(link) }));
    const page = await FakePage.join(tether);
    const asked = await page.nextOpen();
    expect(asked.url).toBe(URL);
    const local = await page.openLocal(asked.link);
    const { link, at } = await dialled;
    local.send(Uint8Array.of(1, 2));
    await at.untilMessages(1);
    link.send([Uint8Array.of(3), Uint8Array.of(4)]);
    const [data] = (await once(local, 'message')) as [Buffer];
    expect([...data]).toEqual([3, 4]);
    expect(page.duty()).toBe('carry');
  });

  it('a dial makes a ticket for each page that is asked, by that page’s clock', async () => {
    const tether = await startTether();
    const hour = 3_600_000;
    const page = await FakePage.join(tether, tether.secret(), Date.now() + hour);
    const skews: number[] = [];
    void tether.server.dial((skewMs) => [URL, skews.push(skewMs)][0] as string, never).catch(() => {});
    await page.nextOpen();
    expect(Math.abs((skews[0] ?? 0) - hour)).toBeLessThan(2_000);
  });

  it('a dial fails if the relay refuses the page', async () => {
    const tether = await startTether();
    const page = await FakePage.join(tether);
    const dial = tether.server.dial(() => URL, never);
    page.send({ type: 'failed', link: (await page.nextOpen()).link, reason: 'refused' });
    expect(await faultOfDial(dial)).toBe('phone-refused');
  });

  it('a dial continues while the page cannot reach the relay, reports that once, and asks with a new ticket each time', async () => {
    const clock = new VirtualClock();
    const tether = await startTether(clock);
    const page = await FakePage.join(tether, tether.secret(), clock.wallTime());
    let tickets = 0;
    const dial = tether.server.dial(() => `${URL}${++tickets}`, never).then((link) => new LinkRecorder(link));
    for (let i = 1; i <= 2; i++) {
      const { link, url } = await page.nextOpen();
      expect(url).toBe(`${URL}${i}`);
      page.send({ type: 'failed', link, reason: 'unreachable' });
      await page.heard();
      // No earlier than after half a second, and after one and a half at the latest.
      await clock.advance(499);
      expect(page.messages.filter(({ type }) => type === 'open')).toEqual([]);
      await clock.advance(1_001);
    }
    await page.openLocal((await page.nextOpen()).link);
    await dial;
    expect(tether.events.filter(({ type }) => type === 'offline')).toHaveLength(1);
  });

  it('a dial can be cancelled; the late link is rejected', async () => {
    const tether = await startTether();
    const page = await FakePage.join(tether);
    const stop = new AbortController();
    const dial = tether.server.dial(() => URL, stop.signal);
    const { link } = await page.nextOpen();
    stop.abort();
    expect(await faultOfDial(dial)).toBe('dial-cancelled');
    expect(await statusOf(openSocket(tether.host, `/link/${link}`))).toBe(404);
    expect(await faultOfDial(tether.server.dial(() => URL, stop.signal))).toBe('dial-cancelled');
  });

  it.each(['a dial that is cancelled', 'the next phone'])(
    'a dial survives a page that is ended in the turn in which it joined: %s',
    async (by) => {
      const tether = await startTether();
      const stop = new AbortController();
      const dial = tether.server.dial(() => URL, stop.signal).then((link) => new LinkRecorder(link));
      const socket = openSocket(tether.host, '/control');
      const paired = await pair(socket, tether.host, tether.secret());
      if (typeof paired === 'string') throw new Error(paired);
      const joined = new Seal(paired.keys.pageSeal).seal(encodeMessage({ type: 'joined', time: Date.now() }));
      const tcp = (socket as unknown as { readonly _socket: Socket })._socket;
      // Both in one segment.
      tcp.cork();
      socket.send(joined);
      socket.send(Uint8Array.of(1, 2, 3));
      tcp.uncork();
      await once(socket, 'close');
      if (by === 'the next phone') {
        tether.server.showCode();
        const page = await FakePage.join(tether);
        await page.openLocal((await page.nextOpen()).link);
        await dial;
      } else {
        stop.abort();
        expect(await faultOfDial(dial)).toBe('dial-cancelled');
      }
    },
  );

  it('the token of a link is valid once', async () => {
    const tether = await startTether();
    const page = await FakePage.join(tether);
    const dial = tether.server.dial(() => URL, never).then((link) => new LinkRecorder(link));
    const { link } = await page.nextOpen();
    await page.openLocal(link);
    await dial;
    expect(await statusOf(openSocket(tether.host, `/link/${link}`))).toBe(404);
  });
});

describe('several pages', () => {
  it('the newest page is asked for a link, and the other one when that fails', async () => {
    const tether = await startTether();
    const older = await FakePage.join(tether);
    tether.server.showCode();
    const newer = await FakePage.join(tether);
    const dial = tether.server.dial(() => URL, never).then((link) => new LinkRecorder(link));
    newer.send({ type: 'failed', link: (await newer.nextOpen()).link, reason: 'unreachable' });
    await older.openLocal((await older.nextOpen()).link);
    await dial;
    await until(() => older.duty() === 'carry' && newer.duty() === 'spare');
  });

  it('another page is asked within two seconds if one does not answer, and the late link is rejected', async () => {
    const clock = new VirtualClock();
    const tether = await startTether(clock);
    const older = await FakePage.join(tether);
    tether.server.showCode();
    const newer = await FakePage.join(tether);
    const since = clock.now();
    const dial = tether.server.dial(() => URL, never).then((link) => new LinkRecorder(link));
    const late = await newer.nextOpen();
    while (!older.messages.some(({ type }) => type === 'open')) await passPing(clock, older, newer);
    await older.openLocal((await older.nextOpen()).link);
    await dial;
    expect(clock.now() - since).toBeLessThan(2_000);
    expect(await statusOf(openSocket(tether.host, `/link/${late.link}`))).toBe(404);
  });

  it('a page that is closed loses its links at once', async () => {
    const tether = await startTether();
    const page = await FakePage.join(tether);
    const { at } = await linkBy(tether, page);
    page.socket.terminate();
    await at.untilClosed();
    expect(at.closes[0]?.clean).toBe(false);
  });

  it('a silent page loses its links within two seconds if there is another one, which takes over', async () => {
    const clock = new VirtualClock();
    const tether = await startTether(clock);
    const older = await FakePage.join(tether);
    tether.server.showCode();
    const newer = await FakePage.join(tether);
    const { at } = await linkBy(tether, newer);
    // The limit counts from the last pong, which may be half a second old.
    await clock.advance(499);
    const since = clock.now();
    newer.answers = false;
    while (at.closes.length === 0) await passPing(clock, older, newer);
    const dial = tether.server.dial(() => URL, never).then((link) => new LinkRecorder(link));
    await older.openLocal((await older.nextOpen()).link);
    await dial;
    expect(clock.now() - since).toBeLessThan(2_100);
  });

  it('the only page keeps its links while it is silent, and loses them when it is gone', async () => {
    const clock = new VirtualClock();
    const tether = await startTether(clock);
    const page = await FakePage.join(tether);
    const { at } = await linkBy(tether, page);
    page.answers = false;
    const since = clock.now();
    for (let i = 0; i < 5; i++) await passPing(clock, page);
    expect(at.closes).toEqual([]);
    while (at.closes.length === 0) await passPing(clock, page);
    expect(clock.now() - since).toBeLessThanOrEqual(10_000);
    expect(tether.server.pages).toBe(0);
  });

  it('the newest page takes over the links of the others', async () => {
    const tether = await startTether();
    const { at } = await linkBy(tether, await FakePage.join(tether));
    tether.server.showCode();
    await FakePage.join(tether);
    await at.untilClosed();
  });
});

describe('a link through a page', () => {
  it('a page’s link blocks the sender while the page reports no progress, and drains when it does', async () => {
    const tether = await startTether();
    const { link, at, local } = await linkBy(tether, await FakePage.join(tether));
    const record = new Uint8Array(48 * 1024);
    let sent = 0;
    while (link.send([record])) sent += record.length;
    sent += record.length;
    await until(() => local.bufferedAmount === 0);
    expect(sent).toBeLessThan(1024 * 1024);
    expect(at.drains).toBe(0);
    local.send(String(sent));
    await until(() => at.drains === 1);
  });

  it.each(['-1', '1e3', 'x', '', '999999999', '0x10', ' 1'])(
    'a page’s link ends when the page sends the impossible report %j',
    async (text) => {
      const tether = await startTether();
      const { at, local } = await linkBy(tether, await FakePage.join(tether));
      local.send(text);
      await at.untilClosed();
    },
  );
});
