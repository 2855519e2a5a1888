/**
 * Where the page is served as addresses of this machine come and go: a laptop that roams, is docked, or has an unstable
 * network. Time is passed in.
 */
import { describe, expect, it } from 'vitest';
import { AddressChoice } from '../../../src/tether/laptop/address-choice.ts';
import type { LanAddress } from '../../../src/tether/laptop/lan-address.ts';

const WIFI: LanAddress = { address: '192.168.1.5', rank: 0 };
const OTHER_WIFI: LanAddress = { address: '172.20.10.3', rank: 0 };
const CABLE: LanAddress = { address: '192.168.7.4', rank: 1 };
const DOCKER: LanAddress = { address: '172.17.0.1', rank: 5 };

/** A choice whose steps are served as soon as they are due, and the times of these. */
class Machine {
  readonly choice = new AddressChoice();
  readonly steps: [number, string | undefined][] = [];
  private now = 0;

  constructor(...found: LanAddress[]) {
    this.choice.begin(found);
  }

  /** From now on these addresses exist, for this time. */
  has(found: readonly LanAddress[], forMs: number): this {
    this.choice.handleLook(found, this.now);
    const end = this.now + forMs;
    for (let due = this.choice.pollTimeout(); due !== undefined && due < end; due = this.choice.pollTimeout()) {
      const step = this.choice.pollStep(due);
      if (step === undefined) throw new Error('a time, and nothing to do then');
      this.steps.push([due, step.address]);
      this.choice.handleServed(step.address, due);
    }
    this.now = end;
    return this;
  }
}

describe('the address at which the page is served', () => {
  it('at the start the likeliest address is chosen at once', () => {
    expect(new AddressChoice().begin([WIFI, CABLE])).toBe(WIFI.address);
    expect(new AddressChoice().begin([])).toBeUndefined();
  });

  it('the address stays while it exists and there is no better one', () => {
    const machine = new Machine(WIFI).has([WIFI, CABLE], 60_000).has([OTHER_WIFI, WIFI, DOCKER], 60_000);
    expect(machine.has([WIFI], 60_000).steps).toEqual([]);
  });

  it('without an address the first one that appears is chosen', () => {
    expect(new Machine().has([], 60_000).has([WIFI], 60_000).steps).toEqual([[61_000, WIFI.address]]);
  });

  it('a new address is chosen one second after it replaced the old one', () => {
    expect(new Machine(WIFI).has([OTHER_WIFI], 60_000).steps).toEqual([[1_000, OTHER_WIFI.address]]);
    const meanwhileNone = new Machine(WIFI).has([], 6_000).has([OTHER_WIFI], 60_000);
    expect(meanwhileNone.steps).toEqual([[7_000, OTHER_WIFI.address]]);
  });

  it('a better address is chosen although the old one still exists', () => {
    expect(new Machine(DOCKER).has([CABLE, DOCKER], 60_000).steps).toEqual([[1_000, CABLE.address]]);
    expect(new Machine(CABLE).has([WIFI, CABLE], 60_000).steps).toEqual([[1_000, WIFI.address]]);
  });

  it('another old address is chosen only when the current one has been gone for ten seconds', () => {
    const machine = new Machine(WIFI, CABLE).has([WIFI, CABLE], 60_000).has([CABLE], 9_000).has([WIFI, CABLE], 60_000);
    expect(machine.steps).toEqual([]);
    expect(machine.has([CABLE], 60_000).steps).toEqual([[139_000, CABLE.address]]);
  });

  it('there is no address when none has existed for ten seconds', () => {
    const machine = new Machine(WIFI).has([], 9_000).has([WIFI], 1_000);
    expect(machine.steps).toEqual([]);
    expect(machine.has([], 60_000).has([WIFI], 10_000).steps).toEqual([
      [20_000, undefined],
      [71_000, WIFI.address],
    ]);
  });

  it('an address that disappears before it settles is not chosen', () => {
    expect(new Machine(CABLE).has([WIFI, CABLE], 900).has([CABLE], 60_000).steps).toEqual([]);
  });

  it.each([5_000, 15_000, 25_000])(
    'the address does not follow a network that comes and goes every %d ms',
    (periodMs) => {
      const machine = new Machine(WIFI);
      const minutes = 30;
      for (let i = 0; i < (minutes * 60_000) / periodMs; i++) machine.has(i % 2 ? [WIFI] : [OTHER_WIFI], periodMs);
      expect(machine.steps.length).toBeLessThanOrEqual(minutes + 5);
      const calm = machine.steps.length;
      machine.has([CABLE], 10 * 60_000).has([OTHER_WIFI, CABLE], 1_500);
      expect(machine.steps.slice(calm).map(([, address]) => address)).toEqual([CABLE.address, OTHER_WIFI.address]);
    },
  );
});

describe('an address that cannot be listened at', () => {
  it('an address that cannot be listened at is tried again at the next look, and not before', () => {
    const choice = new AddressChoice();
    choice.begin([CABLE]);
    choice.handleLook([WIFI, CABLE], 0);
    expect(choice.pollStep(1_000)).toEqual({ address: WIFI.address });
    choice.handleRefused();
    expect([choice.pollTimeout(), choice.pollStep(1e9), choice.current]).toEqual([undefined, undefined, CABLE.address]);
    choice.handleLook([WIFI, CABLE], 100_000);
    expect(choice.pollStep(100_000)).toEqual({ address: WIFI.address });
  });

  it('there is no address if the new one fails and the old one is gone, until the old one is back', () => {
    const choice = new AddressChoice();
    choice.begin([WIFI]);
    choice.handleLook([CABLE], 0);
    choice.handleRefused();
    expect([choice.current, choice.pollTimeout()]).toEqual([undefined, undefined]);
    choice.handleLook([WIFI, CABLE], 50_000);
    expect(choice.pollStep(51_000)).toEqual({ address: WIFI.address });
  });
});
