/** An end that gives up its opens stays below what its peer bears, whatever the link does meanwhile. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TokenBucket } from '../../src/limits/token-bucket.ts';
import { DEFAULT_MUX_CONFIG } from '../../src/mux/config.ts';
import { RapidResets } from '../../src/mux/rapid-resets.ts';
import { MuxPeer, TARGET } from '../support/mux/mux-peer.ts';

const { ownRapidResetRate, rapidResetRate } = DEFAULT_MUX_CONFIG;

describe('Opens that are reset before an answer', () => {
  it('the opens that an end resets in any time are at most the burst and what that time has earned', () => {
    const steps = fc.array(fc.tuple(fc.constantFrom('acquire', 'spend', 'release'), fc.nat({ max: 500 })), {
      maxLength: 300,
    });
    fc.assert(
      fc.property(steps, fc.nat({ max: 299 }), (all, from) => {
        const resets = new RapidResets({ perSecond: 10, burst: 20 }, 0);
        let [now, underWay, spent, since] = [0, 0, 0, 0];
        for (const [at, [what, ms]] of all.entries()) {
          now += ms;
          if (at === from) [since, spent] = [now, -underWay];
          if (what === 'acquire') underWay += resets.acquire(now) ? 1 : 0;
          else if (underWay > 0) {
            underWay -= 1;
            if (what === 'spend') {
              resets.spend();
              spent += 1;
            } else resets.release();
          }
          expect(spent).toBeLessThanOrEqual(20 + ((now - since) * 10) / 1000 + 1e-6);
        }
      }),
    );
  });

  it('opens wait after too many were reset, and continue as time passes', () => {
    const peer = MuxPeer.joined('client');
    let opened = 0;
    const giveUpAll = (): number => {
      for (;;) {
        const next = peer.session.open(TARGET, peer.now);
        if ('heldUntil' in next) return next.heldUntil;
        if (!('stream' in next)) throw new Error(JSON.stringify(next));
        opened += 1;
        peer.record();
        peer.session.reset(next.stream, 'dial-cancelled', peer.now);
      }
    };
    const heldUntil = giveUpAll();
    expect(opened).toBe(ownRapidResetRate.burst);
    expect(heldUntil).toBeGreaterThan(peer.now);
    peer.now += 1000;
    giveUpAll();
    expect(opened).toBe(ownRapidResetRate.burst + ownRapidResetRate.perSecond);
  });

  it('the opens that a stalled link collects in 10 s may be reset at once without exceeding the peer’s limit', () => {
    const atExit = new TokenBucket(rapidResetRate, 0);
    const most = ownRapidResetRate.burst + 10 * ownRapidResetRate.perSecond;
    for (let i = 0; i < most; i++) expect(atExit.acquire(10_000)).toBe(true);
  });

  it('opens that were answered or not yet sent do not count as rapid resets', () => {
    const peer = MuxPeer.joined('client');
    for (let i = 0; i < 3 * ownRapidResetRate.burst; i++) {
      const id = peer.opened();
      peer.session.reset(id, 'dial-cancelled', peer.now);
      peer.record();
      const unsent = peer.session.open(TARGET, peer.now);
      if ('stream' in unsent) peer.session.reset(unsent.stream, 'dial-cancelled', peer.now);
    }
    expect(peer.session.open(TARGET, peer.now)).toHaveProperty('stream');
  });
});
