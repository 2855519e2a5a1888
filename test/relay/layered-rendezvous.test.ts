import { describe, expect, it, vi } from 'vitest';
import { LayeredRendezvous } from '../../src/relay/layered-rendezvous.ts';
import { ALONE, type CallOutcome } from '../../src/relay/rendezvous.ts';

function layer(outcome: CallOutcome) {
  const withdraw = vi.fn();
  const call = vi.fn(async () => outcome);
  return { withdraw, call, rendezvous: { ...ALONE, announce: () => withdraw, call } };
}

describe('workers of a machine in a cluster', () => {
  it.each([
    ['called', 'called', 'called', 0],
    ['unreachable', 'called', 'unreachable', 0],
    ['absent', 'called', 'called', 1],
    ['absent', 'absent', 'absent', 1],
  ] as const)(
    'where workers say %s and machines would say %s, a call is %s',
    async (ofWorkers, ofMachines, outcome, asked) => {
      const [workers, machines] = [layer(ofWorkers), layer(ofMachines)];
      const both = new LayeredRendezvous(workers.rendezvous, machines.rendezvous);
      expect(await both.call('home', 'token')).toBe(outcome);
      expect(machines.call).toHaveBeenCalledTimes(asked);
    },
  );

  it('an exit that has gone is withdrawn from the workers and from the machines', () => {
    const [workers, machines] = [layer('called'), layer('called')];
    new LayeredRendezvous(workers.rendezvous, machines.rendezvous).announce('home')();
    expect([workers.withdraw, machines.withdraw].map((withdraw) => withdraw.mock.calls.length)).toEqual([1, 1]);
  });
});
