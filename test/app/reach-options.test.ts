/**
 * What the user chooses of the way to a relay, as options of the library.
 *
 * @module-tag waits
 */
import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ReachOptions, reachOf } from '../../src/app/reach-options.ts';
import { requestFieldsOf } from '../../src/app/request-fields.ts';
import { WstunError } from '../../src/errors.ts';
import { collectingLogger } from '../support/collecting-logger.ts';
import { faultOf } from '../support/faults.ts';
import { makeCertificate } from '../support/programs/certificate.ts';
import { tempDir } from '../support/temp-dir.ts';

const SECURE = { relayUrls: ['wss://relay.example'] };
const PIN = `sha256/${Buffer.alloc(32, 7).toString('base64')}`;

/** The message of the fault; empty if there is none. */
async function messageOf(options: ReachOptions, invite = SECURE, unsealed = false): Promise<string> {
  const error: unknown = await reachOf(options, invite, { logger: collectingLogger().logger, unsealed }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error !== undefined && !(error instanceof WstunError)) throw error;
  return error?.message ?? '';
}

describe('reachOf', () => {
  it.each<[string, ReachOptions]>([
    ['--tls-pin', { tlsPins: ['sha256/abc'] }],
    ['--tls-pin', { tlsPins: [PIN.replace('sha256', 'sha1')] }],
    ['--sni', { sni: '192.0.2.1' }],
    ['--sni', { sni: 'a b' }],
    ['--connect-to', { connectTo: { host: 'a', port: 0 } }],
    ['--source', { source: '' }],
    ['--source', { source: '../lo' }],
    ['--source', { source: '127.0.0.1', family: 6 }],
    ['--prefer', { family: 4, preferFamily: 6 }],
    ['--tls-ca', { tlsCa: ['/no/such/file'] }],
    ['--tls-ca', { tlsCa: ['/dev/null'] }],
    ['--tls-cert', { tlsIdentity: { certFile: '/no/such/file', keyFile: '/dev/null' } }],
    ['--host', { hostHeader: 'a/b' }],
  ])('reachOf names the option that it rejects: %s', async (option, options) => {
    expect(await messageOf(options)).toContain(option);
  });

  it('reachOf accepts every option at once', async () => {
    const dir = await tempDir();
    const { cert, key } = makeCertificate();
    const [certFile, keyFile] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
    await Promise.all([writeFile(certFile, cert), writeFile(keyFile, key)]);
    const reach = await reachOf(
      {
        tlsCa: [certFile],
        tlsPins: [PIN, PIN.replace('/', '//')],
        tlsIdentity: { certFile, keyFile },
        sni: 'front.example',
        hostHeader: 'relay.example:8443',
        connectTo: { host: '::1', port: 443 },
        headers: { 'X-Team': 'one' },
        userAgent: 'curl/8',
        source: 'lo',
        family: 6,
        preferFamily: 6,
      },
      SECURE,
      { logger: collectingLogger().logger },
    );
    expect(reach.fields?.()).toEqual({ Host: 'relay.example:8443', 'User-Agent': 'curl/8', 'X-Team': 'one' });
    expect(reach).toMatchObject({ connectTo: { host: '::1', port: 443 }, source: 'lo', family: 6, prefer: 6 });
  });

  it('reachOf waits for an interface that has no address yet, and says so', async () => {
    const { logger, lines } = collectingLogger();
    expect(await reachOf({ source: 'no-such-one' }, SECURE, { logger })).toMatchObject({ source: 'no-such-one' });
    expect(lines.map(({ message }) => message).join()).toContain('--source');
  });

  it('reachOf says that certificate and key do not belong together, and that a key has a passphrase', async () => {
    const dir = await tempDir();
    const [one, other] = [makeCertificate(), makeCertificate()];
    const [certFile, keyFile] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
    await Promise.all([writeFile(certFile, one.cert), writeFile(keyFile, other.key)]);
    expect(await messageOf({ tlsIdentity: { certFile, keyFile } })).toContain('do not belong together');
    const locked = execFileSync('openssl', ['pkey', '-aes256', '-passout', 'pass:x'], { input: one.key });
    await writeFile(keyFile, locked);
    expect(await messageOf({ tlsIdentity: { certFile, keyFile } })).toContain('passphrase');
  });

  it('reachOf rejects options of TLS where a relay is reached without it', async () => {
    const plain = { relayUrls: ['ws://a.example'] };
    const both = { relayUrls: ['wss://a.example', 'ws://a.example'] };
    expect(await messageOf({ tlsPins: [PIN] }, plain)).toContain('--tls-pin');
    expect(await messageOf({ tlsPins: [PIN] }, both)).toContain('ws://a.example');
    expect(await messageOf({ sni: 'b.example' }, plain)).toContain('--sni');
    expect(await messageOf({ sni: 'b.example' }, both)).toBe('');
  });

  it('reachOf rejects --tls-ca without end-to-end encryption, and accepts a pin', async () => {
    const dir = await tempDir();
    await writeFile(join(dir, 'ca.pem'), makeCertificate().cert);
    expect(await messageOf({ tlsCa: [join(dir, 'ca.pem')] }, SECURE, true)).toContain('WSTUN-E120');
    expect(await messageOf({ tlsPins: [PIN] }, SECURE, true)).toBe('');
  });
});

describe('header fields of a user', () => {
  it.each([
    'Host',
    'Connection',
    'UPGRADE',
    'Sec-WebSocket-Key',
    'sec-websocket-protocol',
    'Content-Length',
    'Transfer-Encoding',
    'Expect',
    'Origin',
    'Proxy-Authorization',
    'If-None-Match',
    'a b',
    '',
    'ä',
  ])('requestFieldsOf rejects the field %j', (name) => {
    expect(faultOf(() => requestFieldsOf({ headers: { [name]: 'value' } }))).toBe('bad-option');
  });

  it('requestFieldsOf rejects two fields of one name, too many fields, and too many bytes', () => {
    const many = Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`x-${i}`, '1']));
    for (const headers of [{ Cookie: 'a', cookie: 'b' }, many, { cookie: 'x'.repeat(8_200) }])
      expect(faultOf(() => requestFieldsOf({ headers }))).toBe('bad-option');
    expect(faultOf(() => requestFieldsOf({ headers: { 'User-Agent': 'a' }, userAgent: 'b' }))).toBe('bad-option');
  });

  it('no value of a field can end its line, and no error shows one', () => {
    const secret = fc.string({ unit: 'binary', minLength: 8 }).map((text) => `secret${text}`);
    fc.assert(
      fc.property(secret, (value) => {
        try {
          const { Cookie } = requestFieldsOf({ headers: { Cookie: value } });
          expect(Cookie).not.toMatch(/[\r\n\0]/);
        } catch (error) {
          if (!(error instanceof WstunError)) throw error;
          expect(error.message).not.toContain('secret');
        }
      }),
    );
  });
});
