/** What `wstun vpn --print` and other systems show: whole commands, with nothing in them but addresses. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeChange, describeUndo, nameServerFile, planVpn, tunArguments } from '../../src/vpn/changes.ts';
import { redirectRules, tproxyRules } from '../../src/vpn/firewall-rules.ts';
import { nameServersIn, networkServers } from '../../src/vpn/name-servers.ts';
import { otherSystemLines } from '../../src/vpn/other-systems.ts';

const FACTS = { port: 7893, relays: ['51.0.0.1', '2600::1'] };

describe('rules of nftables', () => {
  it.each([
    ['tproxy', tproxyRules],
    ['redirect', redirectRules],
  ] as const)('for --%s leave out the relay, in the set of its family, and say how they are undone', (name, rules) => {
    const text = rules(FACTS);
    expect(text).toMatch(/set around4 \{[^}]*51\.0\.0\.1\n/);
    expect(text).toMatch(/set around6 \{[^}]*2600::1\n/);
    expect(text).toContain('to :7893');
    expect(text).toContain(`#   nft delete table inet wstun_${name}`);
  });

  it('have nothing in them that is no address, whatever a name server says', () => {
    fc.assert(
      fc.property(fc.string(), (relay) => {
        const isAddress = /^[0-9.]+$|:/.test(relay);
        if (!isAddress) expect(tproxyRules({ port: 1, relays: [relay] })).toBe(tproxyRules({ port: 1, relays: [] }));
      }),
    );
  });

  it('undo each line that was run', () => {
    const text = tproxyRules(FACTS);
    const added = [...text.matchAll(/^ip (-\d \w+) add (.*)$/gm)].map(([, what, rest]) => `${what} delete ${rest}`);
    const deleted = [...text.matchAll(/^# {3}ip (-\d \w+ delete .*)$/gm)].map(([, line]) => line);
    expect(added).toHaveLength(4);
    expect(deleted).toEqual(added);
  });
});

describe('the commands of wstun vpn', () => {
  it('are printed as they are run, and undone by their opposites', () => {
    const facts = { around: ['51.0.0.1'], ownDnsPort: undefined, ipv6: 'absent', file: nameServerFile('') } as const;
    const changes = planVpn(facts);
    expect(changes.map(describeChange)).toEqual([
      'ip tuntap add mode tun name wstun0',
      'ip -4 address add 198.19.255.254/32 dev wstun0',
      'ip link set wstun0 up',
      'ip -4 route add unreachable default metric 4278198272 table 7894',
      'ip -4 route add default dev wstun0 table 7894',
      'ip -4 rule add priority 7800 to 51.0.0.1 lookup main',
      'ip -4 rule add priority 7802 ipproto udp dport 53 lookup 7894',
      'ip -4 rule add priority 7802 ipproto tcp dport 53 lookup 7894',
      'ip -4 rule add priority 7803 to 10.0.0.0/8 lookup main suppress_prefixlength 0',
      'ip -4 rule add priority 7803 to 172.16.0.0/12 lookup main suppress_prefixlength 0',
      'ip -4 rule add priority 7803 to 192.168.0.0/16 lookup main suppress_prefixlength 0',
      'ip -4 rule add priority 7803 to 169.254.0.0/16 lookup main suppress_prefixlength 0',
      'ip -4 rule add priority 7804 lookup 7894',
      "echo 'nameserver 198.19.255.53' > /etc/resolv.conf",
    ]);
    expect(changes.map(describeUndo).slice(-2)).toEqual([
      'ip -4 rule delete priority 7804 lookup 7894',
      '# put back what was in /etc/resolv.conf',
    ]);
    expect(tunArguments('127.0.0.1:1080', 'carried').join(' ')).toBe(
      '--tun wstun0 --proxy socks5://127.0.0.1:1080 --dns virtual --virtual-dns-pool 198.18.0.0/16 --max-sessions 1024 --udp-timeout 60 --ipv6-enabled',
    );
  });
});

describe('lines for other systems', () => {
  const proxy = { host: '127.0.0.1', port: 1080 };
  it.each([
    ['darwin', 'sudo tun2proxy-bin'],
    ['win32', 'tun2proxy-bin.exe'],
  ])('have on %s all addresses of the relay', (platform, program) => {
    const text = otherSystemLines({ platform, relays: FACTS.relays, proxy });
    expect(text).toContain(
      `${program} --setup --proxy socks5://127.0.0.1:1080 --dns virtual --bypass 51.0.0.1 --bypass 2600::1\n`,
    );
    expect(text.includes('wintun.dll')).toBe(platform === 'win32');
  });
});

describe('name servers of a machine', () => {
  it('are those of resolv.conf that are addresses, three at most', () => {
    const text =
      'nameserver 10.0.0.1\n  nameserver\tfe80::1%eth0\n#nameserver 1.1.1.1\nnameserver x\nsearch nameserver\n';
    expect(nameServersIn(text)).toEqual(['10.0.0.1', 'fe80::1%eth0']);
    expect(nameServersIn('nameserver 1.1.1.1\n'.repeat(5))).toHaveLength(3);
  });

  it('are those of systemd-resolved where resolv.conf has only the machine itself', () => {
    expect(networkServers('nameserver 127.0.0.53\n', 'nameserver 10.0.0.1\n')).toEqual(['10.0.0.1']);
    expect(networkServers('nameserver 127.0.0.1\n', undefined)).toEqual([]);
    expect(networkServers('nameserver 127.0.0.53\nnameserver 10.0.0.2\n', 'nameserver 10.0.0.1\n')).toEqual([
      '10.0.0.2',
    ]);
  });
});
