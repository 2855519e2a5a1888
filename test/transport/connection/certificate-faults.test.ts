import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { certificateFault, type SeenCertificate } from '../../../src/transport/connection/certificate-faults.ts';

const NOW = Date.UTC(2026, 10, 30, 12);
const JUDGEMENT = { where: 'relay.example:443', host: 'relay.example', now: NOW, unsealed: false };

function seen(overrides: Partial<SeenCertificate> = {}): SeenCertificate {
  const issuer = overrides.issuer ?? 'C=US\nO=Example\nCN=Example CA';
  return {
    issuer,
    issuers: [issuer],
    subjectAltName: 'DNS:relay.example',
    validFrom: 'Nov  1 00:00:00 2026 GMT',
    validTo: 'Dec 31 00:00:00 2026 GMT',
    pin: 'sha256/abc=',
    ...overrides,
  };
}

const unknownAuthority = 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY';

describe('what is wrong with a certificate', () => {
  it.each([
    ['O=Zscaler Inc.\nCN=Zscaler Intermediate Root CA (zscalertwo.net)', 'Zscaler'],
    ['O=Fortinet\nCN=FG100D3G14812345', 'Fortinet FortiGate'],
    ['O=Blue Coat SG200\nCN=10.0.0.1', 'Blue Coat ProxySG (Symantec)'],
    ['CN=Palo Alto Networks Decryption', 'Palo Alto Networks'],
    ['O=Sophos\nCN=Sophos SSL CA_C01001', 'Sophos'],
    ['O=Netskope Inc.\nCN=ca.example.goskope.com', 'Netskope'],
    ['O=Cisco\nCN=Cisco Umbrella Root CA', 'Cisco Umbrella'],
    ['O=AO Kaspersky Lab\nCN=Kaspersky Anti-Virus Personal Root Certificate', 'Kaspersky'],
    ['O=ESET, spol. s r. o.\nCN=ESET SSL Filter CA', 'ESET'],
    ['O=Avast Web/Mail Shield\nCN=Avast Web/Mail Shield Root', 'Avast or AVG'],
    ['O=mitmproxy\nCN=mitmproxy', 'mitmproxy'],
    ['O=Example\nCN=squid proxy', 'squid'],
  ])('a program that inspects TLS is known by its issuer: %j', (issuer, product) => {
    const fault = certificateFault(unknownAuthority, seen({ issuer }), JUDGEMENT);
    expect(fault.fault).toBe('tls-inspected');
    expect(fault.detail).toContain(`(${product})`);
    expect(fault.message).toContain('It cannot read your data');
  });

  it('a program that inspects TLS is known by an authority above the issuer', () => {
    const issuers = ['CN=branch-12', 'O=Zscaler Inc.\nCN=Zscaler Root CA'];
    expect(certificateFault(unknownAuthority, seen({ issuers }), JUDGEMENT).fault).toBe('tls-inspected');
  });

  it('without end-to-end encryption, nobody is told that an inspector cannot read the data', () => {
    const fault = certificateFault(unknownAuthority, seen({ issuer: 'O=mitmproxy' }), { ...JUDGEMENT, unsealed: true });
    expect(fault.message).toContain('it could read all data');
    expect(fault.message).not.toContain('cannot read');
  });

  it('an ordinary unknown authority is named with the pin of the key', () => {
    const fault = certificateFault(unknownAuthority, seen(), JUDGEMENT);
    expect([fault.fault, fault.detail]).toEqual([
      'relay-untrusted',
      'relay.example:443: it is from "Example CA, Example", which is not known here; the pin of its key is sha256/abc=',
    ]);
  });

  it.each([
    ['DNS:a.example', 'a.example'],
    ['DNS:a, DNS:b, IP Address:192.0.2.1, DNS:c, DNS:d', 'a, b, 192.0.2.1 and 2 more'],
    [undefined, 'no host name at all'],
    ['URI:urn:x', 'no host name at all'],
  ])('a certificate for %s says so', (subjectAltName, names) => {
    const fault = certificateFault('ERR_TLS_CERT_ALTNAME_INVALID', seen({ subjectAltName }), JUDGEMENT);
    expect(fault.fault).toBe('relay-other-name');
    expect(fault.detail).toBe(`relay.example:443: it is for ${names}, not for relay.example`);
  });

  it.each([
    ['CERT_HAS_EXPIRED', { validTo: 'Nov 29 00:00:00 2026 GMT' }, 'it has expired on 2026-11-29 00:00 UTC'],
    ['CERT_NOT_YET_VALID', { validFrom: 'Dec  1 00:00:00 2026 GMT' }, 'it is not valid before 2026-12-01 00:00 UTC'],
    ['CERT_HAS_EXPIRED', {}, 'the certificate of its issuer is out of date'],
    ['CERT_HAS_EXPIRED', { validFrom: 'x', validTo: 'y' }, 'the certificate of its issuer is out of date'],
  ])('%s shows the date, and what the clock says', (code, overrides, text) => {
    const fault = certificateFault(code, seen(overrides), JUDGEMENT);
    expect(fault.fault).toBe('relay-out-of-date');
    expect(fault.detail).toBe(`relay.example:443: ${text}, and this machine's clock says 2026-11-30 12:00 UTC`);
  });

  it('no text of a certificate can control a terminal or fill a screen', () => {
    const text = fc.string({ unit: 'binary', maxLength: 500 });
    const codes = fc.constantFrom(unknownAuthority, 'ERR_TLS_CERT_ALTNAME_INVALID', 'CERT_HAS_EXPIRED', 'CERT_REVOKED');
    fc.assert(
      fc.property(codes, text, text, (code, name, alt) => {
        const issuer = `O=${name}\nCN=${name}`;
        const { message } = certificateFault(code, seen({ issuer, subjectAltName: `DNS:${alt}` }), JUDGEMENT);
        expect(message).not.toMatch(/[\p{Cc}\p{Cf}\u2028\u2029]/u);
        expect(message.length).toBeLessThan(900);
      }),
    );
  });
});
