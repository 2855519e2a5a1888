import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RelayList } from '../../../src/tunnel/routes/relay-list.ts';

const [A, B, C, D] = ['wss://a.test', 'wss://b.test', 'wss://c.test', 'wss://d.test'] as const;

describe('the relays of a client', () => {
  it('a dial begins with the relay that has carried last, and goes on in the order of the list', () => {
    const list = new RelayList([A, B, C]);
    expect(list.inOrder()).toEqual([A, B, C]);
    expect(list.inOrder({ carried: B })).toEqual([B, A, C]);
    expect(list.inOrder({ carried: D })).toEqual([A, B, C]);
  });

  it('a dial ends with the relay whose link carries nothing, although it has carried last', () => {
    expect(new RelayList([A, B, C]).inOrder({ carried: A, last: A })).toEqual([B, C, A]);
  });

  it('a relay whose link brought no answer comes after the others, and before one that carries nothing now', () => {
    const list = new RelayList([A, B, C]);
    expect(list.inOrder({ carried: B, silent: B })).toEqual([A, C, B]);
    expect(list.inOrder({ carried: A, silent: B, last: A })).toEqual([C, B, A]);
  });

  it('a dial begins with the relay that has the session, whatever else is known', () => {
    expect(new RelayList([A, B, C]).inOrder({ carried: A, home: B, last: B })).toEqual([B, A, C]);
  });

  it('the better relays are those that come before one in the list', () => {
    const list = new RelayList([A, B, C]);
    expect([list.better(A), list.better(C), list.better(D)]).toEqual([[], [A, B], [A, B, C]]);
  });

  it('relays that an exit has told come first, and those of the invite stay behind them', () => {
    const list = new RelayList([A, B]);
    expect(list.learn([C, B])).toBe(true);
    expect(list.all).toEqual([C, B, A]);
    expect(list.own).toEqual([A, B]);
    expect(list.learn([C, B])).toBe(false);
    expect(list.learn([D])).toBe(true);
    expect(list.all).toEqual([D, A, B]);
  });

  it('always: at most 8 relays, each once, the told ones first and in their order', () => {
    const relays = fc.uniqueArray(
      fc.integer({ min: 0, max: 20 }).map((n) => `wss://${n}.test`),
      { minLength: 1, maxLength: 8 },
    );
    fc.assert(
      fc.property(relays, relays, (own, told) => {
        const list = new RelayList(own);
        list.learn(told);
        expect(list.all.slice(0, told.length)).toEqual(told);
        expect(list.all.length).toBeLessThanOrEqual(8);
        expect(new Set(list.all).size).toBe(list.all.length);
        if (told.length + own.length <= 8) expect(list.all).toEqual(expect.arrayContaining([...own]));
      }),
    );
  });
});
