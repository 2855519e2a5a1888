import { describe, expect, it } from 'vitest';
import type { ClientStatus, ServingStatus } from '../../src/app/status.ts';
import { statusText } from '../../src/cli/status-text.ts';
import { widthOf } from '../../src/cli/terminal/width.ts';

const NOW = 1_700_000_000_000;
const TRAFFIC = { sent: 1_234, received: 56_789_012, sentPerSecond: 0, receivedPerSecond: 1_500_000 };

const CLIENT: ClientStatus = {
  ...{ role: 'client', version: '1.0.0', pid: 42, startedAt: NOW - 90_000, state: 'connected', since: NOW - 65_000 },
  ...{ listen: '127.0.0.1:1080', relay: 'relay.example.org:443', exit: 'named', route: { carrier: 'websocket' } },
  ...{
    links: 2,
    roundTripMs: { now: 31.4, min: 9.25 },
    streams: [],
    streamCount: 0,
    associations: 0,
    traffic: TRAFFIC,
  },
  ...{ resumes: 1, streamsLost: 0 },
};

const RELAY: ServingStatus = {
  ...{ role: 'relay', version: '1.0.0', pid: 43, startedAt: NOW - 3 * 86_400_000, listen: ['0.0.0.0:443'] },
  ...{ peers: [], peerCount: 0, exits: [], refusals: {} },
};

function widest(text: string): number {
  return Math.max(...text.split('\n').map((line) => [...line].length));
}

describe('the text of wstun status', () => {
  it('a connected client shows where, since when, by what, how fast, and what it has carried', () => {
    expect(statusText(CLIENT, NOW).split('\n')).toEqual([
      'wstun client at 127.0.0.1:1080 (process 42, 1.0.0)',
      '  state       connected for 1 m 5 s',
      '  relay       relay.example.org:443, by WebSocket',
      '  targets     dialled by an exit behind the relay',
      '  links       2',
      '  round trip  31 ms, lowest 9.3 ms',
      '  now         ↑ 0 B/s, ↓ 1.5 MB/s',
      '  in all      ↑ 1.2 kB, ↓ 57 MB',
      '  losses      1 link resumed, 0 connections lost',
      '  open        0 connections',
    ]);
  });

  it('a relay says which cluster it is in, by which server, and since when and why that is away', () => {
    const cluster = {
      name: 'wstun',
      node: '00112233',
      relays: 3,
      connectedSince: NOW - 65_000,
      server: '10.0.0.1:4222',
    };
    const text = statusText({ ...RELAY, cluster }, NOW);
    expect(text).toContain('  cluster     wstun, 3 relays, connected for 1 m 5 s, by 10.0.0.1:4222');
    const fault = { code: 'WSTUN-E280', message: 'the cluster cannot be asked: 10.0.0.1:4222: connection refused' };
    const away = { name: 'wstun', node: '00112233', relays: 1, awaySince: NOW - 5_000, fault };
    const lost = statusText({ ...RELAY, cluster: away }, NOW);
    expect(lost).toContain('  cluster     wstun, away for 5 s');
    expect(lost).toContain('connection refused');
    expect(widest(lost)).toBeLessThanOrEqual(80);
  });

  it('a client without a link says why, when it tries again, and how long connections wait', () => {
    const fault = {
      code: 'WSTUN-E201',
      message: `the relay cannot be reached: ${'a long reason '.repeat(12)}(WSTUN-E201)`,
    };
    const outage = { fault, failures: 3, nextAttemptAt: NOW + 4_000, heldUntil: NOW + 100_000 };
    const text = statusText({ ...CLIENT, state: 'link-lost', links: 0, outage }, NOW);
    expect(text).toContain('link lost, connections wait for 1 m 5 s');
    expect(text).toContain('(WSTUN-E201)');
    expect(text).toContain('next try    in 4 s');
    expect(text).toContain('connections wait 1 m 40 s more');
    expect(widest(text)).toBeLessThanOrEqual(80);
  });

  it('forwards, ports at the exit and the name server have a line each, and a port that is refused says why', () => {
    const fault = { code: 'WSTUN-E315', message: 'the exit does not allow this port (WSTUN-E315)' };
    const lines = statusText(
      {
        ...CLIENT,
        nameServer: '127.0.0.1:5353',
        forwards: [
          { forward: '80:a:80', protocol: 'tcp', listen: '127.0.0.1:80', to: 'a:80' },
          { forward: '53:[::1]:53/udp', protocol: 'udp', listen: '127.0.0.1:53', to: '[::1]:53' },
        ],
        remoteForwards: [
          { ...{ forward: '127.0.0.1:0:b:22', protocol: 'tcp', to: 'b:22' }, state: 'opening' },
          { ...{ forward: '127.0.0.1:0:c:22', protocol: 'tcp', to: 'c:22' }, state: 'listening', bound: '127.0.0.1:7' },
          { ...{ forward: '127.0.0.1:9:d:9/udp', protocol: 'udp', to: 'd:9' }, state: 'refused', fault },
          { ...{ forward: '127.0.0.1:8:socks', protocol: 'tcp', to: 'socks' }, state: 'listening', bound: '[::1]:8' },
        ],
        associations: 1,
      },
      NOW,
    ).split('\n');
    expect(lines.slice(lines.findIndex((line) => line.includes('losses')) + 1)).toEqual([
      '  names       name server on 127.0.0.1:5353, UDP and TCP',
      '  forward     127.0.0.1:80 leads to a:80 from the exit',
      '  forward     127.0.0.1:53 (UDP) leads to [::1]:53 from the exit',
      '  port        127.0.0.1:0:b:22 not open yet',
      '  port        127.0.0.1:7 at the exit leads to c:22',
      '  port        127.0.0.1:9:d:9/udp refused',
      '              the exit does not allow this port (WSTUN-E315)',
      '  port        [::1]:8 at the exit is a SOCKS proxy of this machine',
      '  open        0 connections, 1 UDP association',
    ]);
  });

  it('of many connections the newest twenty are shown, and the others counted', () => {
    const streams = Array.from({ length: 30 }, (_, at) => ({
      ...{ target: `${at}.${'long-name.'.repeat(12)}example:443`, openedAt: NOW - 86_400_000 + at, sent: 10 ** at },
      received: 10 ** at,
    }));
    const lines = statusText({ ...CLIENT, streams, streamCount: 1_234 }, NOW).split('\n');
    expect(lines.at(-1)).toBe('  and 1214 older');
    expect(lines.filter((line) => line.includes('long-name'))).toHaveLength(20);
    expect(lines.findIndex((line) => line.includes(' 29.'))).toBeLessThan(
      lines.findIndex((line) => line.includes(' 28.')),
    );
    expect(widest(lines.join('\n'))).toBeLessThanOrEqual(80);
  });

  it('no name of a peer or a target can act on the terminal, or turn the direction of its text around', () => {
    const target = '\u001b[2J\u009b31m\u0007\u202emoc.live:80';
    const streams = [{ target, openedAt: NOW, sent: 0, received: 0 }];
    expect(statusText({ ...CLIENT, streams, streamCount: 1 }, NOW)).not.toMatch(/[^\P{Cc}\n]|\u202e/u);
  });

  it('the columns of a target with wide characters are those of the others', () => {
    const targets = ['例え.テスト:443', 'example.org:443'];
    const streams = targets.map((target) => ({ target, openedAt: NOW, sent: 0, received: 0 }));
    const lines = statusText({ ...CLIENT, streams, streamCount: 2 }, NOW)
      .split('\n')
      .slice(-2);
    expect(new Set(lines.map((line) => widthOf(line.slice(0, line.indexOf('0 s')))))).toEqual(new Set([51]));
  });

  it('a relay shows its exits, who is on, from where, and what it refused', () => {
    const peers = [
      { name: 'alice', address: '192.0.2.1', since: NOW - 3_700_000, links: 1, streams: 4, traffic: TRAFFIC },
      { name: 'home/1', exit: 'home', address: '2001:db8::1', since: NOW - 5_000, links: 2, traffic: TRAFFIC },
    ];
    const refusals = { 'no-ticket': 1_000, 'exit-absent': 2, overloaded: 1, 'keys-rotated': 30_000 };
    const exits = [{ name: 'home', since: NOW - 7_200_000 }];
    const text = statusText({ ...RELAY, peers, peerCount: 2, exits, refusals }, NOW);
    expect(text.split('\n')).toEqual([
      'wstun relay (process 43, 1.0.0), running for 3 d 0 h',
      '  listens     0.0.0.0:443',
      '  exits       home for 2 h 0 m',
      '  refused     no-ticket 1000, exit-absent 2, overloaded 1, keys-rotated 30000',
      '  on          2 clients',
      '  alice from 192.0.2.1                                       1 h 1 m',
      '    1 link, 4 connections; ↓1.2 kB ↑57 MB, now ↓0 B/s ↑1.5 MB/s',
      '  home/1 from 2001:db8::1 to home                                5 s',
      '    2 links; ↓1.2 kB ↑57 MB, now ↓0 B/s ↑1.5 MB/s',
    ]);
  });

  it('an exit that is not registered says why', () => {
    const fault = { code: 'WSTUN-E224', message: 'another exit of this name is registered (WSTUN-E224)' };
    const { listen: _listen, ...facts } = RELAY;
    const text = statusText({ ...facts, role: 'exit', relay: { address: 'relay.example.org:443', fault } }, NOW);
    expect(text).toContain('relay.example.org:443, not registered');
    expect(text).toContain('another exit of this name');
  });

  it('an exit with several relays has a line for each, and a reason only where none of them has it', () => {
    const fault = { code: 'WSTUN-E201', message: 'the relay cannot be reached: connection refused (WSTUN-E201)' };
    const relays = [
      { address: 'a.example:443', registeredAt: NOW - 65_000 },
      { address: 'b.example:443', fault },
      { address: 'c.example:443', sameAs: 'a.example:443' },
    ];
    const exit: ServingStatus = { ...RELAY, role: 'exit', listen: [], relays };
    expect(statusText({ ...exit, relay: { address: 'a.example:443', registeredAt: NOW } }, NOW).split('\n')).toEqual([
      'wstun exit (process 43, 1.0.0), running for 3 d 0 h',
      '  relays      a.example:443, registered for 1 m 5 s',
      '              b.example:443, not registered (WSTUN-E201)',
      '              c.example:443, the same relay as a.example:443',
      '  on          0 clients',
    ]);
    const out = { ...exit, relays: relays.slice(1), relay: { address: 'b.example:443', fault } };
    expect(statusText(out, NOW)).toContain(
      '  why         the relay cannot be reached: connection refused (WSTUN-E201)\n',
    );
  });
});
