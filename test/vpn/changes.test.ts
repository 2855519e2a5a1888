/** What `wstun vpn` changes, played on a model of a machine's rules, routes and devices. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Change, nameServerFile, passAround, planVpn, type VpnFacts } from '../../src/vpn/changes.ts';
import { ModelMachine } from '../support/vpn/model-machine.ts';

const address = fc.oneof(fc.ipV4(), fc.ipV6());

const facts: fc.Arbitrary<VpnFacts> = fc.record({
  around: fc.uniqueArray(address, { maxLength: 4 }),
  ownDnsPort: fc.option(fc.integer({ min: 1024, max: 65_535 }), { nil: undefined }),
  ipv6: fc.constantFrom('carried', 'blocked', 'absent'),
  file: fc.option(fc.string(), { nil: undefined }).map((now) => nameServerFile(now)),
});

async function make(machine: ModelMachine, changes: readonly Change[]): Promise<void> {
  for (const change of changes) await machine.make(change);
}

async function undo(machine: ModelMachine, changes: readonly Change[]): Promise<void> {
  for (const change of changes.toReversed()) await machine.undo(change);
}

describe('the changes of wstun vpn', () => {
  it('leave the machine as it was when they are undone, however many of them were made', async () => {
    await fc.assert(
      fc.asyncProperty(facts, fc.nat(), async (given, cut) => {
        const machine = new ModelMachine({ '/etc/resolv.conf': given.file?.before });
        const before = machine.describe();
        const changes = planVpn(given);
        await make(machine, changes.slice(0, cut % (changes.length + 1)));
        // All of them: whoever restores does not know how far the killed one came.
        await undo(machine, changes);
        expect(machine.describe()).toBe(before);
      }),
    );
  });

  it('send nothing to an address of the relay into the tunnel, and everything else to public addresses', async () => {
    await fc.assert(
      fc.asyncProperty(facts, address, async (given, other) => {
        const machine = new ModelMachine({});
        await make(machine, planVpn({ ...given, file: undefined }));
        for (const relay of given.around)
          if (given.ipv6 !== 'absent' || !relay.includes(':')) expect(machine.routeTo(relay)).toBe('main');
        const isCarried = !other.includes(':') || given.ipv6 === 'carried';
        const isLocal = /^(10\.|172\.(1[6-9]|2\d|3[01])\.|192\.168\.|169\.254\.|f[cd]|fe[89ab])/i.test(other);
        if (!isLocal && isCarried && !given.around.includes(other)) expect(machine.routeTo(other)).toBe('wstun0');
      }),
    );
  });

  it('leave nothing a way out where the device is gone: the machine’s default route is not taken', async () => {
    const machine = new ModelMachine({});
    await make(machine, planVpn({ around: ['51.0.0.1'], ownDnsPort: undefined, ipv6: 'carried' }));
    machine.removeDevice('wstun0');
    expect(machine.routeTo('93.184.216.34')).toBe('unreachable');
    expect(machine.routeTo('2600::1')).toBe('unreachable');
    expect(machine.routeTo('51.0.0.1')).toBe('main');
  });

  it('block IPv6 where it cannot be carried', async () => {
    const machine = new ModelMachine({});
    await make(machine, planVpn({ around: [], ownDnsPort: undefined, ipv6: 'blocked' }));
    expect(machine.routeTo('2600::1')).toBe('unreachable');
  });

  it('need no command for an address that is none', () => {
    expect(passAround('relay.example.org', 'carried')).toEqual([]);
    expect(passAround('51.0.0.1; reboot', 'carried')).toEqual([]);
    expect(passAround('2600::1', 'absent')).toEqual([]);
  });

  it('name a server only where the machine knows none', () => {
    expect(nameServerFile('search corp\nnameserver 10.0.0.1\n')).toBeUndefined();
    expect(nameServerFile('search corp\n')?.after).toBe('search corp\nnameserver 198.19.255.53\n');
    expect(nameServerFile(undefined)).toMatchObject({ before: undefined, after: 'nameserver 198.19.255.53\n' });
  });
});
