import type { NetworkInterfaceInfo } from 'node:os';
import { describe, expect, it } from 'vitest';
import { describeRoutes } from '../../../src/tunnel/reconnect/network-change.ts';
import { describeNetwork, type NetworkTraits, networkTeller } from '../../../src/tunnel/reconnect/network-identity.ts';

const RESOLVER = 'nameserver 192.168.1.1\nsearch home.example\noptions edns0\n';

function interfaceAt(address: string, netmask = '255.255.255.0'): NetworkInterfaceInfo {
  return { family: 'IPv4', address, netmask, mac: '00:00:00:00:00:00', internal: false, cidr: null };
}

const routesBy = (name: string, gateway = '0101A8C0'): string =>
  describeRoutes(`Iface Destination Gateway\n${name} 00000000 ${gateway} 0003 0 0 600 00000000 0 0 0`, '');

const HOME: NetworkTraits = {
  routes: routesBy('wlan0'),
  interfaces: { wlan0: [interfaceAt('192.168.1.23')], docker0: [interfaceAt('172.17.0.1')] },
  resolver: RESOLVER,
};

describe('the identity of a network', () => {
  it('stays where only this machine’s own address, its adapter or its containers change', () => {
    const identity = describeNetwork(HOME);
    expect(identity).toContain('gateway wifi 0101A8C0');
    expect(describeNetwork({ ...HOME, interfaces: { wlan0: [interfaceAt('192.168.1.99')] } })).toBe(identity);
    const other = { routes: routesBy('wlp3s0'), interfaces: { wlp3s0: [interfaceAt('192.168.1.23')] } };
    expect(describeNetwork({ ...HOME, ...other })).toBe(identity);
  });

  it.each<[string, Partial<NetworkTraits>]>([
    ['the gateway', { routes: routesBy('wlan0', 'FE01A8C0') }],
    ['the network', { interfaces: { wlan0: [interfaceAt('192.168.7.23')] } }],
    ['the name server', { resolver: 'nameserver 10.0.0.1\n' }],
    ['the search domain', { resolver: RESOLVER.replace('home', 'office') }],
    ['the kind of the interface', { routes: routesBy('eth0'), interfaces: { eth0: [interfaceAt('192.168.1.23')] } }],
  ])('changes with %s', (_what, traits) => {
    expect(describeNetwork({ ...HOME, ...traits })).not.toBe(describeNetwork(HOME));
  });

  it('is unknown without a default route, and is told by the interfaces where routes cannot be listed', () => {
    expect(describeNetwork({ ...HOME, routes: '' })).toBeUndefined();
    expect(describeNetwork({ ...HOME, routes: undefined })).toContain('network wifi 192.168.1.0');
    expect(describeNetwork({ routes: undefined, interfaces: {}, resolver: '' })).toBeUndefined();
  });

  it('of this machine is the same twice', () => {
    expect(networkTeller()()).toBe(networkTeller()());
  });
});
