/**
 * A web page that makes the browser connect to a relay again and again, from the address of the relay's clients: a
 * plain page cannot have a ticket, but it can fail so often that the relay stops serving that address.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { expect, it, onTestFinished } from 'vitest';
import { ip } from '../support/net/namespaces.ts';
import { makeCertificate } from '../support/programs/certificate.ts';
import { invite, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

/**
 * A public address (RFC 5737), at which relay, page and client are: loopback and private ones are exempt from all that.
 */
const ADDRESS = '203.0.113.9';

/**
 * As a page does that asks for something again and again: a browser has six connections to a host. Whatever gets the
 * 404 stays on its connection, so each asks for more than a head may have: the relay refuses that and closes, and the
 * next needs a new one.
 */
const knock = (url: string): string => `
  for (let i = 0; i < 6; i++) (async () => {
    for (;;) await fetch('${url}/' + 'x'.repeat(20_000) + Math.random(), { mode: 'no-cors' }).catch(() => {});
  })();
  0`;

it.each(['ws', 'wss'])(
  'a client connects over %s while a page at its address makes a browser connect without end',
  async (scheme) => {
    const port = scheme === 'ws' ? 18_080 : 18_443;
    await ip('address', 'replace', `${ADDRESS}/32`, 'dev', 'lo');
    const tls = makeCertificate(`IP:${ADDRESS}`);
    const dir = await tempDir();
    const files = { cert: join(dir, 'cert.pem'), key: join(dir, 'key.pem') };
    await writeFile(files.cert, tls.cert);
    await writeFile(files.key, tls.key);
    const tlsArgs = scheme === 'ws' ? [] : ['--tls-cert', files.cert, '--tls-key', files.key];
    const url = `${scheme}://${ADDRESS}:${port}`;
    const relay = await startRelay({ args: ['--listen', `${ADDRESS}:${port}`, '--url', url, ...tlsArgs] });
    const [first, second] = [await invite(relay, 'first', { url }), await invite(relay, 'second', { url })];
    const env = { NODE_EXTRA_CA_CERTS: files.cert };
    await startClient(first, { env });

    const browser = await chromium.launch({
      executablePath: '/usr/bin/chromium',
      args: ['--no-sandbox', '--ignore-certificate-errors'],
    });
    onTestFinished(() => browser.close());
    const page = await browser.newPage();
    await page.evaluate(knock(url.replace('ws', 'http')));
    const penalties = (): number =>
      relay.process.stderr.split('opens unauthenticated connections too often').length - 1;
    // The third lasts 20 s: a client that connects well within it was served in spite of it.
    await until(() => penalties() >= 3, 60_000);

    const begun = performance.now();
    await startClient(second, { env });
    expect(performance.now() - begun).toBeLessThan(10_000);
  },
  120_000,
);
