import { describe, expect, it } from 'vitest';
import { checkedRelays, type LearntRelays, RelayLearning } from '../../src/app/relay-learning.ts';
import type { ToldRelays } from '../../src/protocol/relays.ts';
import { RelayList } from '../../src/tunnel/routes/relay-list.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const [A, B, C] = ['wss://a.test', 'wss://b.test', 'wss://c.test'] as const;
const told = (...urls: readonly string[]): ToldRelays => ({ urls, pins: [] });
const pinOf = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);

function learning(relayUrls: readonly string[] = [A], tlsPins?: readonly Uint8Array[]) {
  const clock = new VirtualClock();
  const list = new RelayList(relayUrls);
  const learnt: LearntRelays[] = [];
  const pins: (readonly Uint8Array[])[] = [];
  const client = new RelayLearning(
    { relayUrls, tlsPins },
    {
      clock,
      use: (urls) => {
        list.learn(urls);
        return list.all;
      },
      usePins: (some) => pins.push(some),
      onLearnt: (some) => learnt.push(some),
    },
  );
  return { client, clock, learnt, list, pins };
}

describe('what a client learns of relays', () => {
  it('the told relays come first, and that is reported once', async () => {
    const { client, clock, learnt, list } = learning();
    client.handle(told(B, A));
    await clock.advance(1);
    client.handle(told(B, A));
    await clock.advance(20_000);
    expect(list.all).toEqual([B, A]);
    expect(learnt).toEqual([{ relayUrls: [B, A], tlsPins: [] }]);
  });

  it('relays that the invite has already are no news', async () => {
    const { client, clock, learnt } = learning([A, B]);
    client.handle(told(A, B));
    client.handle(told(A));
    await clock.advance(20_000);
    expect(learnt).toEqual([]);
  });

  it('of an exit that tells something else all the time, the latest counts every 10 s', async () => {
    const { client, clock, learnt } = learning();
    for (let i = 0; i < 300; i++) {
      client.handle(told(`wss://${i}.test`));
      await clock.advance(100);
    }
    expect(learnt.map(({ relayUrls: [first] }) => first)).toEqual(['wss://0.test', 'wss://100.test', 'wss://200.test']);
  });

  it('pins are added to those of the invite, and are in force before the relays', async () => {
    const { client, clock, learnt, pins } = learning([A], [pinOf(1)]);
    client.handle({ urls: [A], pins: [pinOf(2), pinOf(1)] });
    await clock.advance(1);
    expect(pins).toEqual([[pinOf(2), pinOf(1)]]);
    expect(learnt).toEqual([{ relayUrls: [A], tlsPins: [pinOf(2), pinOf(1)] }]);
    client.handle({ urls: [A], pins: Array.from({ length: 8 }, (_, n) => pinOf(10 + n)) });
    await clock.advance(10_000);
    expect(pins.at(-1)).toHaveLength(8);
  });

  it('nothing is taken up after the client was closed', async () => {
    const { client, clock, learnt } = learning();
    client.handle(told(B));
    client.stop();
    await clock.advance(1_000);
    expect(learnt).toEqual([]);
  });
});

describe('the check of told relays', () => {
  it.each(['https://b.test', 'wss://b.test/', 'wss://user@b.test', 'wss://b.test?x', 'wss://B.test', 'b.test'])(
    'a list with %s is ignored as a whole',
    (url) => {
      expect(checkedRelays(told(B, url), { relayUrls: [A] })).toBeUndefined();
    },
  );

  it('a client whose relays all have TLS takes no relay without it', () => {
    const mixed = told('ws://b.test', C);
    expect(checkedRelays(mixed, { relayUrls: [A, B] })).toEqual(told(C));
    expect(checkedRelays(mixed, { relayUrls: [A, 'ws://b.test'] })).toEqual(mixed);
    expect(checkedRelays(told('ws://b.test'), { relayUrls: [A] })).toBeUndefined();
  });
});
