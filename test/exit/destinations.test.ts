import { describe, expect, it } from 'vitest';
import { DestinationMemory, destinationOfAddress, destinationOfName } from '../../src/exit/destinations.ts';
import { parseIp } from '../../src/net/ip.ts';

const at = (host: string, port = 80) => [destinationOfAddress(parseIp(host)!, port)];
const TEN_MINUTES = 600_000;

describe('DestinationMemory', () => {
  it('DestinationMemory remembers for ten minutes that a destination answered', () => {
    const memory = new DestinationMemory();
    expect(memory.prospectOf(at('192.0.2.1'), 0)).toEqual({ kind: 'fresh' });
    memory.noteAnswer(at('192.0.2.1'), 0);
    expect(memory.prospectOf(at('192.0.2.1'), TEN_MINUTES - 1)).toEqual({ kind: 'good' });
    expect(memory.prospectOf(at('192.0.2.1', 81), 0)).toEqual({ kind: 'fresh' });
    expect(memory.prospectOf(at('192.0.2.1'), TEN_MINUTES)).toEqual({ kind: 'fresh' });
  });

  it('DestinationMemory counts the silences of a destination until it answers', () => {
    const memory = new DestinationMemory();
    memory.noteAnswer(at('192.0.2.1'), 0);
    for (let n = 1; n <= 3; n++) {
      memory.noteSilence(at('192.0.2.1'), 0);
      expect(memory.prospectOf(at('192.0.2.1'), 0)).toEqual({ kind: 'doubtful', tries: n });
    }
    memory.noteRefusal(at('192.0.2.1'), 0);
    expect(memory.prospectOf(at('192.0.2.1'), 0)).toEqual({ kind: 'doubtful', tries: 4 });
    memory.noteAnswer(at('192.0.2.1'), 0);
    expect(memory.prospectOf(at('192.0.2.1'), 0)).toEqual({ kind: 'good' });
  });

  it('DestinationMemory doubts all ports of a silent host, and all hosts of a network with four silent ones, until one answers', () => {
    const memory = new DestinationMemory();
    memory.noteSilence(at('192.0.2.1', 1), 0);
    expect(memory.prospectOf(at('192.0.2.1', 2), 0)).toEqual({ kind: 'doubtful', tries: 0 });
    expect(memory.prospectOf(at('192.0.2.2'), 0)).toEqual({ kind: 'fresh' });
    for (let port = 2; port <= 4; port++) memory.noteSilence(at('192.0.2.1', port), 0);
    expect(memory.prospectOf(at('192.0.2.2'), 0)).toEqual({ kind: 'doubtful', tries: 0 });
    expect(memory.prospectOf(at('192.0.3.2'), 0)).toEqual({ kind: 'fresh' });
    memory.noteAnswer(at('192.0.2.3'), 0);
    expect(memory.prospectOf(at('192.0.2.2'), 0)).toEqual({ kind: 'fresh' });
  });

  it('DestinationMemory groups IPv6 addresses by /64, and names by domain', () => {
    const memory = new DestinationMemory();
    for (const host of ['1', '2', '3', '4']) memory.noteSilence(at(`2001:db8::${host}`), 0);
    expect(memory.prospectOf(at('2001:db8::ffff'), 0).kind).toBe('doubtful');
    expect(memory.prospectOf(at('2001:db8:0:1::1'), 0).kind).toBe('fresh');
    for (const host of ['a', 'b', 'c', 'd']) memory.noteSilence([destinationOfName(`${host}.dead.example`)], 0);
    expect(memory.prospectOf([destinationOfName('e.dead.example')], 0).kind).toBe('doubtful');
    expect(memory.prospectOf([destinationOfName('live.example')], 0).kind).toBe('fresh');
    expect(memory.prospectOf([destinationOfName('wiki')], 0).kind).toBe('fresh');
  });

  it('DestinationMemory rates an offer with several addresses by the best of them', () => {
    const memory = new DestinationMemory();
    memory.noteSilence(at('192.0.2.1'), 0);
    expect(memory.prospectOf([...at('192.0.2.1'), ...at('198.51.100.1')], 0).kind).toBe('fresh');
    memory.noteAnswer(at('198.51.100.1'), 0);
    expect(memory.prospectOf([...at('192.0.2.1'), ...at('198.51.100.1')], 0).kind).toBe('good');
  });

  it('DestinationMemory is bounded, and a flood of silent destinations displaces none that answered', () => {
    const memory = new DestinationMemory();
    memory.noteAnswer(at('192.0.2.1'), 0);
    for (let i = 0; i < 20_000; i++) memory.noteSilence(at(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`), 0);
    expect(memory.size).toBeLessThanOrEqual(5_120);
    expect(memory.prospectOf(at('192.0.2.1'), 0)).toEqual({ kind: 'good' });
  });
});
