/** The TLS greeting that a network sees of `--via-browser`: that of the same browser on any page. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ja4 } from '../support/net/ja4.ts';
import { type RecordingProxy, recordingProxy } from '../support/net/recording-proxy.ts';
import { makeCertificate } from '../support/programs/certificate.ts';
import { invite, type RunningRelay, startRelay } from '../support/programs/wstun-stack.ts';
import { tempDir } from '../support/temp-dir.ts';
import { Phone } from '../support/tether/phone.ts';
import { START_LIMIT_MS, spawnViaBrowser } from '../support/tether/via-browser.ts';
import { until } from '../support/until.ts';

const TRUST = '--ignore-certificate-errors';

/** A relay with TLS, and the observer of all that is sent to it. */
async function startObserved(): Promise<{ relay: RunningRelay; seen: RecordingProxy; origin: string }> {
  const folder = await tempDir();
  const { cert, key } = makeCertificate();
  const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  await writeFile(certFile, cert);
  await writeFile(keyFile, key);
  const relay = await startRelay({ args: ['--tls-cert', certFile, '--tls-key', keyFile] });
  const seen = await recordingProxy(relay.port);
  return { relay, seen, origin: `localhost:${seen.port}` };
}

/** Of the first connection: later ones of the same program resume its TLS session, and say so. */
async function firstGreeting(seen: RecordingProxy): Promise<string> {
  await until(() => (seen.recorded()[0]?.length ?? 0) > 500, START_LIMIT_MS);
  return ja4(seen.recorded()[0] ?? Buffer.alloc(0));
}

/** What a page does in a fresh Chromium. */
async function greetingOfPage(script: (origin: string) => string): Promise<string> {
  const { seen, origin } = await startObserved();
  const phone = await Phone.start({ args: [TRUST] });
  const page = await phone.open('about:blank');
  await page.evaluate(script(origin));
  return await firstGreeting(seen);
}

it('the greeting of a link is that of any WebSocket of the same Chromium', async () => {
  const { relay, seen, origin } = await startObserved();
  const secret = await invite(relay, 'laptop', { url: `wss://${origin}` });
  // Its certificate is trusted by the pin in the invite.
  const { client } = await spawnViaBrowser(secret);
  await client.event('ready', START_LIMIT_MS);
  const ofLink = await firstGreeting(seen);
  const ofPage = await greetingOfPage((at) => `new WebSocket('wss://${at}/socket') && undefined`);
  expect(ofLink).toBe(ofPage);
  expect(ofLink).toMatch(/^t13d15\d\dh1_8daaf6152771_[0-9a-f]{12}$/);
});
