import { expect, it } from 'vitest';
import { RelayAddresses } from '../../../src/transport/connection/relay-addresses.ts';

const PLACE = 'relay.example:443';
const FOUND = ['2001:db8::1', '2001:db8::2', '192.0.2.1', '192.0.2.2'];

it('relay addresses of both families alternate, and the family that the resolver prefers comes first', () => {
  const known = new RelayAddresses();
  expect(known.order(PLACE, FOUND)).toEqual(['2001:db8::1', '192.0.2.1', '2001:db8::2', '192.0.2.2']);
  expect(known.order(PLACE, FOUND.toReversed())).toEqual(['192.0.2.2', '2001:db8::2', '192.0.2.1', '2001:db8::1']);
});

it('the relay address that worked last comes first if the name still resolves to it, else after what it resolves to', () => {
  const known = new RelayAddresses();
  known.handleWorked(PLACE, '192.0.2.2');
  expect(known.order(PLACE, FOUND)[0]).toBe('192.0.2.2');
  expect(known.order(PLACE, ['192.0.2.7'])).toEqual(['192.0.2.7', '192.0.2.2']);
  expect(known.order('other.example:443', FOUND)[0]).toBe('2001:db8::1');
  expect([known.lastGood(PLACE), known.lastGood('other.example:443')]).toEqual(['192.0.2.2', undefined]);
});

it('addresses at which no relay answered come last, so that each address gets its turn', () => {
  const known = new RelayAddresses();
  known.handleWorked(PLACE, '192.0.2.1');
  const firsts: string[] = [];
  for (let attempt = 0; attempt < 6; attempt++) {
    const [first = ''] = known.order(PLACE, FOUND);
    firsts.push(first);
    known.handleFailed(PLACE, first);
  }
  expect(new Set(firsts.slice(0, 4))).toEqual(new Set(FOUND));
  expect(firsts.slice(4)).toEqual(firsts.slice(0, 2));
  expect(known.lastGood(PLACE)).toBeUndefined();
});

it('the addresses of no more than 64 relays are remembered', () => {
  const known = new RelayAddresses();
  for (let i = 0; i < 65; i++) known.handleWorked(`relay${i}.example:443`, '192.0.2.1');
  expect(known.lastGood('relay0.example:443')).toBeUndefined();
  expect(known.lastGood('relay1.example:443')).toBe('192.0.2.1');
});

/** What another process has kept of one place. */
function keeping(address: string) {
  const noted: string[] = [];
  const known = new RelayAddresses({
    addressOf: (place) => (place === PLACE ? address : undefined),
    noteAddress: (place, worked) => void noted.push(`${place} ${worked}`),
  });
  return { known, noted };
}

it('the address that worked in another process is tried where the name has none, and beside others where it has', () => {
  const { known, noted } = keeping('198.18.0.1');
  expect(known.lastGood(PLACE)).toBe('198.18.0.1');
  expect(known.order(PLACE, ['192.0.2.7'])).toEqual(['192.0.2.7', '198.18.0.1']);
  expect(known.order('other.example:443', ['192.0.2.7'])).toEqual(['192.0.2.7']);
  known.handleWorked(PLACE, '192.0.2.7');
  expect(noted).toEqual([`${PLACE} 192.0.2.7`]);
  expect(known.lastGood(PLACE)).toBe('192.0.2.7');
});

it('a public address that worked comes first where the name server says only addresses of local networks', () => {
  const { known } = keeping('8.8.4.4');
  expect(known.order(PLACE, ['10.1.1.1', '192.168.0.1'])).toEqual(['8.8.4.4', '10.1.1.1', '192.168.0.1']);
  expect(known.order(PLACE, ['1.1.1.1'])).toEqual(['1.1.1.1', '8.8.4.4']);
});

it('an address of a lying name server at which no relay answers comes last, and one that was kept may fail, too', () => {
  const { known } = keeping('8.8.4.4');
  known.handleFailed(PLACE, '1.1.1.1');
  expect(known.order(PLACE, ['1.1.1.1'])).toEqual(['8.8.4.4', '1.1.1.1']);
  known.handleFailed(PLACE, '8.8.4.4');
  expect(known.order(PLACE, ['1.1.1.1'])).toEqual(['1.1.1.1']);
  expect(known.lastGood(PLACE)).toBeUndefined();
});
