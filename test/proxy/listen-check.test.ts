import { describe, expect, it } from 'vitest';
import { refuseOpenToNetwork } from '../../src/proxy/listen-check.ts';
import { faultOf } from '../support/faults.ts';

const wish = (host: string, hasCredentials = false, allowLan = false) => ({ host, hasCredentials, allowLan });

describe('refuseOpenToNetwork', () => {
  it.each(['localhost', 'LOCALHOST', '127.0.0.1', '127.255.0.9', '::1'])('refuseOpenToNetwork allows %s', (host) => {
    expect(faultOf(() => refuseOpenToNetwork(wish(host)))).toBeUndefined();
  });

  it.each(['0.0.0.0', '::', '192.168.1.2', '127.0.0.1.example.com', '127.1', '::ffff:127.0.0.1', ''])(
    'refuseOpenToNetwork refuses %j',
    (host) => {
      expect(faultOf(() => refuseOpenToNetwork(wish(host)))).toBe('open-to-network');
    },
  );

  it('refuseOpenToNetwork allows any address with a password, or with --allow-lan', () => {
    expect(faultOf(() => refuseOpenToNetwork(wish('0.0.0.0', true)))).toBeUndefined();
    expect(faultOf(() => refuseOpenToNetwork(wish('0.0.0.0', false, true)))).toBeUndefined();
  });
});
