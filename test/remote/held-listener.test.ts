import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WstunError } from '../../src/errors.ts';
import { HeldListener, type ListenerUse } from '../../src/remote/held-listener.ts';
import { type KeeperNotice, ListenerKeeper } from '../../src/remote/listener-keeper.ts';
import { FakeListeners, ipTarget } from '../support/proxy/fake-tunnel.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const USES: Readonly<Record<'tcp' | 'udp', ListenerUse>> = {
  tcp: { protocol: 'tcp', handleConnection: (offer) => offer.refuse('dial-busy') },
  udp: { protocol: 'udp', handleDatagram: (bytes, from, send) => send(bytes, from) },
};

function start(protocol: 'tcp' | 'udp', port = 8080) {
  const clock = new VirtualClock();
  const opener = new FakeListeners();
  const notices: string[] = [];
  const onNotice = (notice: KeeperNotice) => {
    if (notice.state !== 'listening') notices.push(`${notice.state} ${notice.error.fault}`);
    else notices.push(`listening ${notice.bound.port}${notice.isAgain ? ' again' : ''}`);
  };
  const held = new HeldListener({ opener, address: ipTarget('127.0.0.1', port), use: USES[protocol], onNotice, clock });
  held.start();
  return { clock, opener, notices, held };
}

describe.each(['tcp', 'udp'] as const)('HeldListener (%s)', (protocol) => {
  it('HeldListener listens, and listens again at once when its session is replaced', async () => {
    const { clock, opener, notices } = start(protocol);
    await clock.advance(5_000);
    opener.loseAll('session-unknown');
    await clock.advance(10);
    expect(notices).toEqual(['listening 8080', 'lost session-unknown', 'listening 8080 again']);
    expect(opener[protocol]).toHaveLength(1);
  });

  it('HeldListener tells once that a port is in use, and gets it when it is free', async () => {
    const { clock, opener, notices } = start(protocol);
    await clock.advance(5_000);
    opener.fault = 'listen-in-use';
    opener.loseAll('link-lost');
    await clock.advance(120_000);
    expect(notices).toEqual(['listening 8080', 'lost link-lost', 'refused listen-in-use']);
    expect(opener.attempts).toBeLessThan(25);
    opener.fault = undefined;
    await clock.advance(25_000);
    expect(notices.at(-1)).toBe('listening 8080 again');
  });

  it('HeldListener tells each new reason, and nothing of a session that is not there', async () => {
    const { clock, opener, notices } = start(protocol);
    await clock.advance(1_000);
    for (const fault of ['listen-in-use', 'not-connected', 'listen-not-allowed'] as const) {
      opener.fault = fault;
      opener.loseAll('session-closed');
      await clock.advance(60_000);
    }
    opener.fault = undefined;
    await clock.advance(60_000);
    expect(notices).toEqual([
      'listening 8080',
      'lost session-closed',
      'refused listen-in-use',
      'refused listen-not-allowed',
      'listening 8080 again',
    ]);
  });

  it('HeldListener is back within seconds of a session, however long there was none', async () => {
    const { clock, opener, notices } = start(protocol);
    await clock.advance(1_000);
    opener.fault = 'not-connected';
    opener.loseAll('session-expired');
    await clock.advance(3_600_000);
    opener.fault = undefined;
    await clock.advance(2_000);
    expect(notices.at(-1)).toBe('listening 8080 again');
  });

  it('HeldListener tells once that the exit has closed the port, because its owner has changed the rules', async () => {
    const { clock, opener, notices } = start(protocol);
    await clock.advance(5_000);
    opener.fault = 'listen-not-allowed';
    opener.loseAll('listen-not-allowed');
    await clock.advance(60_000);
    expect(notices).toEqual(['listening 8080', 'lost listen-not-allowed']);
    opener.fault = undefined;
    await clock.advance(25_000);
    expect(notices.at(-1)).toBe('listening 8080 again');
  });

  it('HeldListener with port 0 asks for the port that it had, and for another where that is in use', async () => {
    const { clock, opener, notices } = start(protocol, 0);
    await clock.advance(5_000);
    const chosen = Number(notices[0]?.split(' ')[1]);
    opener.loseAll('session-unknown');
    await clock.advance(5_000);
    expect(notices.at(-1)).toBe(`listening ${chosen} again`);
    opener.fault = 'listen-in-use';
    opener.loseAll('session-unknown');
    await clock.advance(1);
    opener.fault = undefined;
    await clock.advance(30_000);
    expect(notices.at(-1)).toMatch(/^listening (\d+) again$/);
    expect(opener[protocol][0]?.address.port).toBe(0);
  });

  it('HeldListener does not ask in a loop where each listener ends at once', async () => {
    const { clock, opener } = start(protocol);
    for (let turn = 0; turn < 600; turn++) {
      await clock.advance(100);
      opener.loseAll('listen-failed');
    }
    expect(opener.attempts).toBeLessThan(20);
  });

  it('HeldListener gives the port back when it is closed, and leaves no timer', async () => {
    const { clock, opener, held } = start(protocol);
    await clock.advance(0);
    const [listener] = opener[protocol];
    held.close();
    expect(listener?.isClosed).toBe(true);
    expect(clock.timers).toBe(0);
    const second = start(protocol);
    second.held.close();
    await second.clock.advance(0);
    expect(second.opener[protocol].filter(({ isClosed }) => !isClosed)).toEqual([]);
  });
});

describe('ListenerKeeper', () => {
  it('ListenerKeeper never waits longer than 23 s, and never tells the same twice in a row', () => {
    const input = fc.constantFrom('open', 'listen-in-use', 'listen-not-allowed', 'not-connected', 'link-lost' as const);
    fc.assert(
      fc.property(fc.array(fc.tuple(input, fc.nat(100_000)), { maxLength: 60 }), (inputs) => {
        const keeper = new ListenerKeeper(ipTarget('127.0.0.1', 0));
        let [now, isOpen, told] = [0, false, ''];
        for (const [kind, ms] of inputs) {
          now += ms;
          if (kind === 'open') {
            if (isOpen) continue;
            expect(keeper.handleListening(ipTarget('127.0.0.1', 8000), now).state).toBe('listening');
            [isOpen, told] = [true, 'listening'];
            continue;
          }
          const error = new WstunError(kind);
          const { notice, waitMs } = isOpen ? keeper.handleEnded(error, now, 0.99) : keeper.handleFailed(error, 0.99);
          expect(waitMs).toBeLessThan(23_000);
          if (isOpen) expect(notice?.state).toBe('lost');
          isOpen = false;
          const text = notice && `${notice.state} ${kind}`;
          if (text !== undefined) expect(text).not.toBe(told);
          told = text ?? told;
        }
      }),
    );
  });
});
