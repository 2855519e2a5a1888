import { beforeEach, describe, expect, it } from 'vitest';
import { FURTHER_FEATURE } from '../../src/crypto/ticket.ts';
import { BUSY, type Far, namedExits } from '../support/links/named-exits.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

let clock = new VirtualClock();
beforeEach(() => {
  clock = new VirtualClock();
});

const settle = (ms = 5) => clock.advance(ms);

describe('the links of a relay', () => {
  /** Counts as a relay does: links of the rendezvous that have not closed. */
  function setUpWith(links: number, kept = 0) {
    let taken = 0;
    const set = namedExits(clock, {}, { linksFree: () => links - taken, linksKept: () => kept });
    const counted = (far: Far): Far => {
      taken += 1;
      return far;
    };
    const { exit, client, answer } = set;
    return {
      exit: (name: string) => (taken < links ? counted(exit(name)) : undefined),
      client: (name: string, features?: number) => {
        if (taken >= links) return undefined;
        taken += 1;
        const far = client(name, 1, features);
        return far;
      },
      answer: (name: string, token: string) => counted(answer(name, token)),
      release: (count: number) => {
        taken -= count;
      },
    };
  }

  it('further links of sessions leave a quarter of the links to new sessions, which an earlier client has, too', async () => {
    const { exit, client, answer, release } = setUpWith(24, 6);
    const home = exit('home');
    let answered = 0;
    const connects = async (features?: number) => {
      const far = client('home', features);
      await settle();
      const token = home?.tokens[answered];
      if (token === undefined) {
        expect(far?.messages ?? [BUSY]).toEqual([BUSY]);
        if (far !== undefined) release(1);
        return false;
      }
      answered += 1;
      answer('home', token);
      await settle();
      return true;
    };
    expect(await connects()).toBe(true);
    let further = 0;
    while (await connects(FURTHER_FEATURE)) further += 1;
    expect(further).toBe(5);
    expect([await connects(), await connects(FURTHER_FEATURE), await connects()]).toEqual([true, false, true]);
  });

  it('one exit cannot take all links of a relay: there are always some for the next exit', async () => {
    const { exit, client, answer, release } = setUpWith(13);
    const evil = exit('evil');
    let refused = 0;
    for (let i = 0; i < 8; i++) {
      const far = client('evil');
      await settle();
      if (far?.messages.length === 0) answer('evil', evil?.tokens.at(-1) ?? '');
      else if (far !== undefined) {
        refused += 1;
        expect(far.messages).toEqual([BUSY]);
        release(1);
      }
      await settle();
    }
    expect(refused).toBe(4);
    const bob = exit('bob');
    const guest = client('bob');
    await settle();
    expect(bob?.tokens).toHaveLength(1);
    answer('bob', bob?.tokens[0] ?? '').link.send([Buffer.from('welcome')]);
    await settle();
    expect(guest?.messages.map(String)).toEqual(['welcome']);
  });

  it('spliced links are closed if nothing passes for two minutes, and stay open if a ping passes', async () => {
    const { client, exit, answer } = namedExits(clock);
    const home = exit('home');
    const pairs: { guest: Far; data: Far }[] = [];
    for (const number of [1, 2]) {
      const guest = client('home', number);
      await settle();
      pairs.push({ guest, data: answer('home', home.tokens.at(-1) ?? '') });
    }
    const [quiet, pinging] = pairs;
    for (let i = 0; i < 10; i++) {
      pinging?.guest.link.send([Buffer.from('ping')]);
      home.say({ type: 'ping' });
      await settle(15_000);
    }
    expect([quiet?.guest.closes.length, quiet?.data.closes.length]).toEqual([1, 1]);
    expect([pinging?.guest.closes, pinging?.data.closes]).toEqual([[], []]);
  });
});
