/** What a tether does as addresses come and go, with interfaces and a clock that the test moves. */
import { beforeEach, describe, expect, it } from 'vitest';
import { WstunError } from '../../../src/errors.ts';
import { AddressFollower } from '../../../src/tether/laptop/address-follower.ts';
import type { LanAddress } from '../../../src/tether/laptop/lan-address.ts';
import type { TetherPlace } from '../../../src/tether/laptop/served-addresses.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

let clock: VirtualClock;
beforeEach(() => {
  clock = new VirtualClock();
});

const [A, B] = ['192.168.1.5', '172.20.10.3'];
const PORT = 8808;

/** A laptop whose addresses the test changes, and a server that can be kept from listening. */
function laptop(addresses: string[], host?: string) {
  const state = { addresses, hidden: false, ranks: [0] as number[], taken: new Set<string>(), codes: 0 };
  const served: TetherPlace[] = [];
  const retained: string[][] = [];
  const told: string[] = [];
  const server = {
    get address() {
      const { publicHost = '' } = served.at(-1) ?? {};
      return publicHost === '' ? undefined : { host: publicHost, port: PORT };
    },
    serve: async (place: TetherPlace) => {
      await Promise.resolve();
      if (state.taken.has(place.host)) throw new WstunError('cannot-listen', `${place.host}:${place.port}: EADDRINUSE`);
      served.push(place);
    },
    setAddresses: (kept: ReadonlySet<string>) => void retained.push([...kept]),
    showCode: () => {
      state.codes += 1;
    },
  };
  const follower = new AddressFollower({
    server,
    port: PORT,
    host,
    addresses: () => {
      if (state.hidden) throw new Error('hidden');
      return state.addresses.map((address, at): LanAddress => ({ address, rank: state.ranks[at] ?? 0 }));
    },
    onNoAddress: (why) => told.push(why === 'no-lan-address' ? 'none' : why),
    onRefused: (error) => told.push(error.message),
    clock,
  });
  /** A change as the network watch reports it, and time for what follows. */
  const become = async (now: string[], ms = 2_000): Promise<void> => {
    state.addresses = now;
    follower.look();
    await clock.advance(ms);
  };
  const names = () => served.map(({ publicHost }) => publicHost);
  return { state, served, retained, told, follower, become, names };
}

describe('an address follower without a host', () => {
  it('a tether listens at the current address, and at the next one when that is replaced', async () => {
    const { follower, served, become, told } = laptop([A]);
    await follower.start();
    expect(served).toEqual([{ host: A, port: PORT, publicHost: A }]);
    await become([B]);
    expect(served.slice(1)).toEqual([{ host: B, port: PORT, publicHost: B }]);
    expect(told).toEqual([]);
  });

  it('a tether without an address reports that once, and serves as soon as there is an address', async () => {
    const { follower, served, become, told, names } = laptop([]);
    await follower.start();
    await become([], 60_000);
    expect([served, told]).toEqual([[], ['none']]);
    await become([A]);
    expect(names()).toEqual([A]);
  });

  it('a tether reports that its address is gone, shows no codes, and uses the same or another address later', async () => {
    const { follower, become, told, names, served } = laptop([A]);
    await follower.start();
    await become([], 9_000);
    expect([told, names()]).toEqual([[], [A]]);
    await become([], 2_000);
    expect(told).toEqual(['none']);
    expect(served.at(-1)).toEqual({ host: A, port: PORT, publicHost: undefined });
    await become([A]);
    expect(names()).toEqual([A, undefined, A]);
    expect(told).toEqual(['none']);
  });

  it('an address follower has a timer only while a move is pending', async () => {
    const { follower, become } = laptop([A]);
    await follower.start();
    expect(clock.timers).toBe(0);
    await become([B], 500);
    expect(clock.timers).toBe(1);
    await clock.advance(2_000);
    expect(clock.timers).toBe(0);
  });

  it('an address follower checks the addresses again before it moves', async () => {
    const { follower, become, state, names } = laptop([A]);
    await follower.start();
    await become([B], 500);
    state.addresses = [A];
    await clock.advance(60_000);
    expect(names()).toEqual([A]);
  });

  it('an address follower tells the server at each change which addresses there are', async () => {
    const { follower, become, retained } = laptop([A]);
    await follower.start();
    await become([A, B]);
    expect(retained.at(-1)).toEqual([A, B]);
  });

  it('an address follower fails at the start if it cannot listen', async () => {
    const { follower, state } = laptop([A]);
    state.taken.add(A);
    await expect(follower.start()).rejects.toMatchObject({ fault: 'cannot-listen' });
  });

  it('an address follower reports once that it cannot listen, and tries at each change until it can', async () => {
    const { follower, become, state, told, names } = laptop([A]);
    await follower.start();
    state.taken.add(B);
    await become([B], 60_000);
    await become([B], 60_000);
    expect(told).toEqual([expect.stringContaining(`${B}:${PORT}: EADDRINUSE`)]);
    // The old address is gone: no code may lead there.
    expect(names()).toEqual([A, undefined]);
    state.taken.clear();
    await become([B], 5_000);
    expect(names()).toEqual([A, undefined, B]);
  });

  it('a tether does not move while interfaces are hidden', async () => {
    const { follower, become, state, names, told } = laptop([A]);
    await follower.start();
    state.hidden = true;
    await become([], 60_000);
    expect([names(), told]).toEqual([[A], []]);
  });

  it('a tether reports hidden interfaces as such, and not as a missing network', async () => {
    const { follower, become, state, told, names } = laptop([A]);
    state.hidden = true;
    await follower.start();
    follower.showCode();
    expect(told).toEqual(['interfaces-hidden', 'interfaces-hidden']);
    state.hidden = false;
    await become([A]);
    expect(names()).toEqual([A]);
    await become([], 20_000);
    expect(told.slice(2)).toEqual(['none']);
  });

  it('an address follower makes one move at a time, and checks the addresses again afterwards', async () => {
    const { follower, state, names } = laptop([A]);
    await follower.start();
    state.addresses = [B];
    follower.look();
    await clock.advance(999);
    clock.advanceNow(1);
    // The move to B is under way: its promise has not resolved.
    state.addresses = [A];
    follower.look();
    follower.look();
    await clock.advance(30_000);
    expect(names()).toEqual([A, B, A]);
  });

  it('a closed address follower does nothing', async () => {
    const { follower, become, names } = laptop([A]);
    await follower.start();
    await become([B], 500);
    follower.close();
    await become([B], 60_000);
    expect([names(), clock.timers]).toEqual([[A], 0]);
  });
});

describe('a closed address follower', () => {
  it.each([
    { what: 'goes away', to: [] as string[], dueMs: 10_000 },
    { what: 'cannot be listened at', to: [B], dueMs: 1_000 },
  ])('a closed address follower does not report an address that just then $what', async ({ to, dueMs }) => {
    const { follower, become, state, told } = laptop([A]);
    await follower.start();
    state.taken.add(B);
    await become(to, dueMs - 1);
    clock.advanceNow(1);
    follower.close();
    await clock.advance(60_000);
    expect([told, clock.timers]).toEqual([[], 0]);
  });
});

describe('showCode of an address follower', () => {
  it('showCode shows a code if there is an address', async () => {
    const { follower, state } = laptop([A]);
    await follower.start();
    follower.showCode();
    expect(state.codes).toBe(1);
  });

  it('showCode moves at once, without a settle time, and shows no code without an address', async () => {
    const { follower, state, names, told } = laptop([A]);
    await follower.start();
    state.addresses = [B];
    follower.showCode();
    await clock.advance(0);
    state.addresses = [];
    follower.showCode();
    await clock.advance(0);
    expect([names(), told, state.codes]).toEqual([[A, B, undefined], ['none'], 0]);
  });

  it('showCode shows a code if the address is back, although serving there shows none', async () => {
    const { follower, become, state, names } = laptop([A]);
    await follower.start();
    await become([], 20_000);
    state.addresses = [A];
    follower.showCode();
    await clock.advance(0);
    expect([names(), state.codes]).toEqual([[A, undefined, A], 1]);
  });

  it('showCode shows a code for the current address if the tether cannot listen at a better one', async () => {
    const { follower, state, told, names } = laptop([A]);
    await follower.start();
    state.ranks = [0, 1];
    state.addresses = [B, A];
    state.taken.add(B);
    follower.showCode();
    await clock.advance(0);
    expect([names(), told.length, state.codes]).toEqual([[A], 1, 1]);
  });

  it('showCode reports that there is no address, or tries to listen again', async () => {
    const { follower, become, state, told, names } = laptop([]);
    await follower.start();
    follower.showCode();
    expect([state.codes, told]).toEqual([0, ['none', 'none']]);
    state.taken.add(A);
    await become([A], 60_000);
    follower.showCode();
    await clock.advance(5_000);
    expect(told.slice(2)).toEqual([expect.stringContaining('EADDRINUSE'), expect.stringContaining('EADDRINUSE')]);
    state.taken.clear();
    follower.showCode();
    await clock.advance(5_000);
    expect(names()).toEqual([A]);
  });
});

describe('an address follower with a host', () => {
  it('a tether on all addresses keeps its listener, and names the current address', async () => {
    const { follower, served, become, told } = laptop([A], '0.0.0.0');
    await follower.start();
    await become([B]);
    await become([], 20_000);
    const place = { host: '0.0.0.0', port: PORT };
    expect(served).toEqual([A, B, undefined].map((publicHost) => ({ ...place, publicHost })));
    expect(told).toEqual(['none']);
  });

  it('a tether on all addresses listens although there is no address yet', async () => {
    const { follower, served, told } = laptop([], '0.0.0.0');
    await follower.start();
    expect(served).toEqual([{ host: '0.0.0.0', port: PORT, publicHost: undefined }]);
    expect(told).toEqual(['none']);
  });
});
