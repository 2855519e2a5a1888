import { X509Certificate } from 'node:crypto';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type CertificatePair, SelfSignedCertificate } from '../../src/state/self-signed-certificate.ts';
import { openStateDir, type StateDir } from '../../src/state/state-dir.ts';
import { pinOf } from '../../src/transport/connection/tls-pin.ts';
import { collectingLogger } from '../support/collecting-logger.ts';
import { faultOfPromise } from '../support/faults.ts';
import { tempDir } from '../support/temp-dir.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';
import { until } from '../support/until.ts';

const NAMES = ['relay.example', '192.0.2.1', '2001:db8::1'];
const DAY_MS = 86_400_000;

async function newState(): Promise<StateDir> {
  return await openStateDir(join(await tempDir(), 'state'));
}

const pinIn = ({ cert }: CertificatePair) => pinOf(new X509Certificate(cert));

describe('the certificate that a relay makes for itself', () => {
  it('a made certificate is for every name and address of the relay, for a year, and its key is private', async () => {
    const [state, clock] = [await newState(), new VirtualClock()];
    const { cert } = await new SelfSignedCertificate(state, NAMES, clock).read();
    const made = new X509Certificate(cert);
    expect([made.checkHost('relay.example'), made.checkIP('192.0.2.1'), made.checkIP('2001:db8::1')]).not.toContain(
      undefined,
    );
    expect(made.verify(made.publicKey)).toBe(true);
    expect(made.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
    expect(Date.parse(made.validFrom)).toBe(Math.floor((clock.wallTime() - DAY_MS) / 1000) * 1000);
    expect(Date.parse(made.validTo)).toBe(Math.floor((clock.wallTime() + 365 * DAY_MS) / 1000) * 1000);
    expect(`${made.subject} ${made.issuer}`).not.toMatch(/wstun/i);
    expect((await stat(state.pathOf('tls-key.pem'))).mode & 0o777).toBe(0o600);
  });

  it('a certificate is kept at the next start, and made again under the same key for other names', async () => {
    const [state, clock] = [await newState(), new VirtualClock()];
    const first = await new SelfSignedCertificate(state, NAMES, clock).read();
    expect(await new SelfSignedCertificate(state, NAMES, clock).read()).toEqual(first);
    const moved = await new SelfSignedCertificate(state, ['other.example'], clock).read();
    expect(moved.cert).not.toBe(first.cert);
    expect(pinIn(moved)).toBe(pinIn(first));
  });

  it('a certificate is renewed under the same key while the relay runs, long before it expires', async () => {
    const [state, clock] = [await newState(), new VirtualClock()];
    const certificate = new SelfSignedCertificate(state, NAMES, clock);
    const first = await certificate.read();
    const used: CertificatePair[] = [];
    certificate.follow((pair) => used.push(pair), collectingLogger().logger);
    clock.setWallTime(clock.wallTime() + 300 * DAY_MS);
    await clock.advance(3_600_000);
    await until(() => clock.timers === 1);
    expect(used).toEqual([]);
    clock.setWallTime(clock.wallTime() + 10 * DAY_MS);
    await clock.advance(3_600_000);
    await until(() => clock.timers === 1);
    expect(used.map(pinIn)).toEqual([pinIn(first)]);
    expect(Date.parse(new X509Certificate(used[0]!.cert).validTo)).toBeGreaterThan(clock.wallTime() + 364 * DAY_MS);
    certificate.stop();
    expect(clock.timers).toBe(0);
  });

  it('a certificate from a clock that was wrong is made again, and a damaged one too', async () => {
    const [state, clock] = [await newState(), new VirtualClock()];
    const certificate = new SelfSignedCertificate(state, NAMES, clock);
    const first = await certificate.read();
    clock.setWallTime(clock.wallTime() - 3 * DAY_MS);
    const earlier = await certificate.read();
    expect(earlier.cert).not.toBe(first.cert);
    await writeFile(state.pathOf('tls-certificate.pem'), 'garbage');
    const again = await certificate.read();
    expect([pinIn(earlier), pinIn(again)]).toEqual([pinIn(first), pinIn(first)]);
  });

  it('a damaged key is reported and never replaced, because invites have its pin', async () => {
    const state = await newState();
    await writeFile(state.pathOf('tls-key.pem'), 'garbage', { mode: 0o600 });
    expect(await faultOfPromise(new SelfSignedCertificate(state, NAMES).read())).toBe('bad-certificate');
  });
});
