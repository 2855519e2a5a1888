import { describe, expect, it } from 'vitest';
import {
  describePlace,
  faultOfAddress,
  localAddressFor,
  placeOfUrl,
  requestFields,
  usualReach,
} from '../../../src/transport/connection/reach.ts';

const { tls } = usualReach();

describe('Reach', () => {
  it('TCP goes to the host of the URL, or to another place that was chosen', () => {
    const connectTo = { host: '2001:db8::1', port: 8443 };
    expect(placeOfUrl(new URL('wss://[::1]/x'), {})).toEqual({ host: '::1', port: 443 });
    expect(placeOfUrl(new URL('ws://a.example/x'), {})).toEqual({ host: 'a.example', port: 80 });
    expect(placeOfUrl(new URL('wss://a.example/x'), { connectTo })).toEqual(connectTo);
    expect(describePlace(new URL('wss://a.example/secret'), { connectTo })).toBe('a.example:443 at [2001:db8::1]:8443');
  });

  it('only addresses of the chosen version of IP are dialled', () => {
    expect(faultOfAddress('192.0.2.1', { family: 4 })).toBeUndefined();
    expect(faultOfAddress('192.0.2.1', { family: 6 })).toBe('NO_IPV6');
    expect(faultOfAddress('2001:db8::1', { family: 4 })).toBe('NO_IPV4');
    expect(faultOfAddress('2001:db8::1', {})).toBeUndefined();
  });

  it('a connection begins at the chosen address, or at one of the chosen interface', () => {
    expect(localAddressFor('192.0.2.1', {})).toBeUndefined();
    expect(localAddressFor('192.0.2.1', { source: '127.0.0.9' })).toBe('127.0.0.9');
    expect(localAddressFor('192.0.2.1', { source: 'lo' })).toBe('127.0.0.1');
    expect(faultOfAddress('192.0.2.1', { source: 'lo' })).toBeUndefined();
  });

  it('an address that the chosen local one cannot reach is not dialled', () => {
    expect(faultOfAddress('2001:db8::1', { source: '127.0.0.9' })).toBe('NO_SOURCE_FAMILY');
    expect(faultOfAddress('192.0.2.1', { source: 'no-such-one' })).toBe('NO_SOURCE');
  });

  it('requests have no further fields without a wish', () => {
    expect(requestFields()).toEqual({});
    expect(requestFields({ tls, fields: () => ({ Host: 'a' }) })).toEqual({ Host: 'a' });
  });
});
