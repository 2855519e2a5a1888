import { describe, expect, it } from 'vitest';
import { dialFault } from '../../../src/transport/connection/relay-dial-faults.ts';
import { obstacleIn } from '../../../src/transport/dial-obstacle.ts';

const PROGRESS = { where: 'relay.example:443', connected: true };

describe('a dial that ends in TLS', () => {
  it.each([
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'certificate required'],
    ['ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE', 'handshake failure'],
    ['ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE', 'handshake failure'],
    ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'unknown ca'],
    ['ERR_SSL_TLSV1_UNRECOGNIZED_NAME', 'unrecognized name'],
  ])('an alert of the server is told: %s', (code, alert) => {
    const fault = dialFault({ code }, PROGRESS);
    expect([fault.fault, fault.detail]).toEqual(['tls-refused', `relay.example:443: its alert is "${alert}"`]);
  });

  it.each(['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG', 'EPROTO'])('%s is no TLS', (code) => {
    expect(dialFault({ code }, PROGRESS).detail).toBe('relay.example:443: the answer is not TLS');
  });
});

describe('a dial without TLS', () => {
  it('a server that closes the connection without an answer may expect TLS', () => {
    const cut = (isPlain: boolean) => dialFault({ code: 'ECONNRESET' }, { ...PROGRESS, isPlain }).message;
    expect(cut(true)).toMatch(
      /closed the connection without an answer\. .*If it expects TLS, its URL must begin with wss:/,
    );
    expect(cut(false)).not.toContain('wss:');
  });
});

describe('a dial that cannot be made as the user chose', () => {
  it.each([
    ['NO_IPV4', '--ipv4', 'name'],
    ['NO_IPV6', '--ipv6', 'name'],
    ['NO_SOURCE', '--source', 'local'],
    ['NO_SOURCE_FAMILY', '--source', 'name'],
  ])('%s names the option', (code, option, obstacle) => {
    const fault = dialFault({ code }, { ...PROGRESS, connected: false });
    expect(fault.fault).toBe('relay-unreachable');
    expect(fault.detail).toContain(option);
    expect(obstacleIn(fault)).toBe(obstacle);
  });
});
