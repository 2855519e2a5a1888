/** The lines at the bottom of a terminal, and how they are rewritten. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ClientStatus, ServingStatus } from '../../../src/app/status.ts';
import { Painter } from '../../../src/cli/painter.ts';
import { type ClientView, clientLines } from '../../../src/cli/terminal/client-lines.ts';
import { timeOfDay } from '../../../src/cli/terminal/quantities.ts';
import { servingLines } from '../../../src/cli/terminal/serving-lines.ts';
import { widthOf } from '../../../src/cli/terminal/width.ts';
import { terminalStyle } from '../../../src/cli/terminal-style.ts';

const NOW = 1_796_000_000_000;
const traffic = { sent: 0, received: 0, sentPerSecond: 20_400, receivedPerSecond: 3_140_000 };

const CONNECTED: ClientStatus = {
  ...{ role: 'client', version: '0.1.0', pid: 1, startedAt: NOW - 60_000, state: 'connected', since: NOW - 60_000 },
  ...{ listen: '127.0.0.1:1080', relay: 'relay.example.org:443', exit: 'relay', links: 1 },
  route: { carrier: 'websocket' },
  roundTripMs: { now: 41.2, min: 40 },
  ...{ streams: [], streamCount: 12, associations: 0, traffic, resumes: 0, streamsLost: 0 },
};
const LOST: ClientStatus = {
  ...CONNECTED,
  ...{ state: 'link-lost', since: NOW - 6_000, streamCount: 3 },
  outage: { failures: 2, nextAttemptAt: NOW + 3_500, heldUntil: NOW + 114_000 },
};

function lines(status: ClientStatus, columns = 120, more: Partial<ClientView> = {}): readonly string[] {
  const view = { status, page: 'phone', readsEnter: true, awaitsPhone: false, ...more } as const;
  return clientLines(view, NOW, { columns, hasColours: false });
}

describe('the line of a client', () => {
  it('a client that is connected shows relay, streams, rates and round trip', () => {
    expect(lines(CONNECTED)).toEqual(['● connected  relay.example.org  12 streams  ↓ 3.1 MB/s ↑ 20 kB/s  41 ms']);
  });

  it.each([
    [{ carrier: 'http' }, 'by HTTP'],
    [{ carrier: 'page' }, 'by phone'],
    [{ carrier: 'websocket', proxy: 'http://ann:pass@proxy.corp:3128' }, 'by proxy http://proxy.corp:3128'],
  ])('a way that is not direct is shown, without credentials: %j', (route, shown) => {
    const [line = ''] = lines({ ...CONNECTED, route });
    expect(line).toContain(`  ${shown}  `);
    expect(line).not.toContain('pass');
  });

  it('a lost link shows for how long, what waits, and when it is tried again', () => {
    expect(lines(LOST)).toEqual([
      '◌ link lost 6 s ago: 3 connections wait for up to 1:54; next attempt in 4 s (Enter: now)',
    ]);
    expect(lines(LOST, 80)).toEqual(['◌ link lost 6 s: 3 connections wait up to 1:54; next in 4 s (Enter: now)']);
  });

  it('before the first session it shows where it connects, and for how long it has tried', () => {
    const status: ClientStatus = { ...CONNECTED, state: 'connecting', since: NOW - 3_000 };
    expect(lines(status)).toEqual(['◌ connecting to relay.example.org:443 … 3 s']);
  });

  it('a failure that repeats is counted above the line, and below a code in it', () => {
    const failure = { reason: 'connection refused', count: 7, since: NOW - 41_000 };
    const since = timeOfDay(failure.since);
    expect(lines(LOST, 120, { failure })[0]).toBe(`connection refused ×7 since ${since}`);
    expect(lines(LOST, 120, { failure: { ...failure, count: 1 } })).toHaveLength(1);
    expect(lines(LOST, 120, { failure, awaitsPhone: true })).toEqual([
      `◌ waiting for a phone (Enter: new code); connection refused ×7 since ${since}; next attempt in 4 s`,
    ]);
  });

  it('a client that closes says what is open, and counts down', () => {
    const streams = ['a.example:80', 'b.example:443', 'c.example:1', 'd.example:2'].map((target) => ({
      ...{ target, openedAt: NOW, sent: 0, received: 0 },
    }));
    const status: ClientStatus = { ...CONNECTED, state: 'closing', streams, streamCount: 4 };
    expect(lines(status, 200, { closesAt: NOW + 29_100 })).toEqual([
      'closing: 4 connections are still open (a.example:80, b.example:443, c.example:1, …); 30 s at most. Ctrl-C again ends now.',
    ]);
    expect(lines({ ...status, streams: [], streamCount: 0 }, 80, { closesAt: NOW })).toEqual(['closing']);
  });

  it('no line fills a terminal of 20 columns or more, and none holds an escape sequence of others', () => {
    const text = fc.string({
      unit: fc.oneof(fc.constantFrom('\u001b', '\u009b', '\n', '界', '\u202e'), fc.string({ maxLength: 4 })),
    });
    const states = fc.constantFrom<ClientStatus['state']>('connecting', 'connected', 'link-lost', 'disconnected');
    const view = fc.record({
      relay: text,
      proxy: text,
      reason: text,
      state: states,
      columns: fc.integer({ min: 20, max: 200 }),
    });
    fc.assert(
      fc.property(view, ({ relay, proxy, reason, state, columns }) => {
        const status: ClientStatus = { ...LOST, relay, state, route: { carrier: 'websocket', proxy } };
        const shown = lines(status, columns, { failure: { reason, count: 3, since: NOW } });
        return shown.every((line) => widthOf(line) < columns && !/\p{Cc}|\u202e/u.test(line));
      }),
      { numRuns: 500 },
    );
  });
});

describe('the line of a relay or an exit', () => {
  const peer = { name: 'alice', since: NOW, links: 1, streams: 5, traffic };
  const RELAY: ServingStatus = {
    ...{ role: 'relay', version: '0.1.0', pid: 1, startedAt: NOW, listen: ['0.0.0.0:443'], refusals: {} },
    ...{ peers: [peer, { ...peer, name: 'bob', streams: 0 }], peerCount: 2, exits: [{ name: 'home', since: NOW }] },
  };
  const show = (status: ServingStatus, more: object = {}, columns = 120) =>
    servingLines({ status, readsEnter: true, ...more }, NOW, { columns, hasColours: false });

  it('a relay shows its clients, exits, streams and rates, and what it waits for when it closes', () => {
    expect(show(RELAY)).toEqual(['● relay  0.0.0.0:443  2 clients  1 exit  5 streams  ↓ 6.3 MB/s ↑ 41 kB/s']);
    expect(show(RELAY, { closesAt: NOW + 12_000 })).toEqual([
      'closing: 1 session with 5 connections is still open; 12 s at most. Ctrl-C again ends now.',
    ]);
    expect(show(RELAY, {}, 20)[0]).toBe('● relay  2 clients');
  });

  it('an exit that is not registered shows for how long, and when it tries again', () => {
    const status: ServingStatus = { ...RELAY, role: 'exit', exits: [], relay: { address: 'relay.example.org:443' } };
    expect(show(status)[0]).toContain('● registered  relay.example.org:443  2 clients');
    expect(show(status, { outage: { since: NOW - 41_000, nextAttemptAt: NOW + 12_000 } })).toEqual([
      '◌ not registered for 41 s; 2 clients; next attempt in 12 s (Enter: now)',
    ]);
  });
});

describe('the lines of an exit with several relays', () => {
  const fault = { code: 'WSTUN-E201', message: 'the relay cannot be reached' };
  const relays = [
    { address: 'a.example:443', registeredAt: NOW - 65_000 },
    { address: 'b.example:443', fault },
    { address: 'c.example:443', sameAs: 'a.example:443' },
  ];
  const EXIT: ServingStatus = {
    ...{ role: 'exit', version: '0.1.0', pid: 1, startedAt: NOW, refusals: {} },
    ...{ peers: [], peerCount: 0, exits: [], relays, relay: { address: 'a.example:443', registeredAt: NOW } },
  };

  it('each relay has a line, above the one that counts them', () => {
    expect(servingLines({ status: EXIT, readsEnter: false }, NOW, { columns: 80, hasColours: false })).toEqual([
      '● a.example:443  registered for 1:05',
      '◌ b.example:443  not registered (WSTUN-E201)',
      '● c.example:443  the same relay as a.example:443',
      '● registered  at 1 of 3 relays  0 clients  0 streams  ↓ 0 B/s ↑ 0 B/s',
    ]);
  });

  it('no line is wider than the terminal', () => {
    const lines = servingLines({ status: EXIT, readsEnter: false }, NOW, { columns: 24, hasColours: false });
    for (const line of lines) expect(widthOf(line)).toBeLessThan(24);
  });
});

describe('the painter', () => {
  function begin() {
    const written: string[] = [];
    const painter = new Painter({ write: (text) => void written.push(text.replaceAll('\u001b', '^')) });
    return { painter, written };
  }

  it('lines are written only if they have changed, and what happens goes above them', () => {
    const { painter, written } = begin();
    painter.print('before\n');
    painter.show(['one']);
    painter.show(['one']);
    painter.print('event\n');
    painter.show([]);
    painter.print('after\n');
    const [, , , ...rest] = written;
    const one = '^[?7lone\r^[?7h';
    expect(written.slice(0, 3)).toEqual(['before\n', `^[?2026h${one}^[?2026l`, `^[?2026h\r^[Jevent\n${one}^[?2026l`]);
    expect(rest).toEqual(['^[?2026h\r^[J^[?2026l', 'after\n']);
  });

  it('the cursor rests where the lines begin, so that they are erased whole wherever a terminal has wrapped them', () => {
    const { painter, written } = begin();
    painter.show(['one', 'two', 'three']);
    painter.show([]);
    expect(written).toEqual(['^[?2026h^[?7lone\r\ntwo\r\nthree\r^[2A^[?7h^[?2026l', '^[?2026h\r^[J^[?2026l']);
  });

  it('lines that a terminal of another size may have damaged are written again, though they are the same', () => {
    const { painter, written } = begin();
    painter.show(['one']);
    painter.redraw(['one']);
    expect(written.at(-1)).toBe('^[?2026h\r^[J^[?7lone\r^[?7h^[?2026l');
  });

  it('after an echoed Enter, lines are rewritten where they were', () => {
    const { painter, written } = begin();
    painter.handleEnter();
    painter.show(['one']);
    painter.handleEnter();
    expect(written.slice(1)).toEqual(['^[A']);
  });
});

describe('the style of a terminal', () => {
  const of = (env: Record<string, string>, isTTY = true) => terminalStyle({ isTTY, env });

  it('NO_COLOR counts if it is not empty, and takes colours only; a dumb terminal and CI have no line', () => {
    expect(of({ TERM: 'xterm' })).toEqual({ isLive: true, hasColours: true });
    expect(of({ NO_COLOR: '' })).toEqual({ isLive: true, hasColours: true });
    expect(of({ NO_COLOR: '1' })).toEqual({ isLive: true, hasColours: false });
    expect(of({ TERM: 'dumb' })).toEqual({ isLive: false, hasColours: false });
    expect(of({ CI: 'true' }).isLive).toBe(false);
    expect(of({ FORCE_COLOR: '1' }, false)).toEqual({ isLive: false, hasColours: true });
  });
});
