/** A browser through the tunnel: a page with 100 subresources, by SOCKS5 and by HTTP. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { startDnsServer } from '../support/net/dns-server.ts';
import { type Nginx, startNginx } from '../support/programs/nginx.ts';
import { invite, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';

/** Chromium takes loopback addresses past its proxy; only the exit's name server knows these. */
const HOSTS = ['www.wstun-e2e.net', 'static-1.wstun-e2e.net', 'static-2.wstun-e2e.net'] as const;
/** Of each kind: 100 in all, beside the page itself. */
const IMAGES = 60;
const STYLES = 10;
const SCRIPTS = 10;
const FETCHES = 20;

let web: Nginx;
let proxy = 0;

beforeAll(async () => {
  const dns = await startDnsServer(Object.fromEntries(HOSTS.map((host) => [host, { addresses: ['127.0.0.1'] }])));
  atEnd(() => dns.close());
  web = await startNginx('add_header Access-Control-Allow-Origin *;');
  await writePage(web);
  const relay = await startRelay({ dns });
  proxy = (await startClient(await invite(relay, 'browser', { allow: ['*.wstun-e2e.net'] }))).port;
});

/**
 * Sizes from a few bytes to 300 KB, over three hosts. Each resource leaves a trace in the page that can be looked at.
 */
async function writePage({ root, port }: Nginx): Promise<void> {
  const url = (i: number, name: string) => `http://${HOSTS[i % HOSTS.length]}:${port}/${name}`;
  const each = (count: number) => Array.from({ length: count }, (_, i) => i);
  const filler = (i: number) => 'x'.repeat(i * 5_000);
  const files: [string, string][] = [
    ...each(IMAGES).map((i): [string, string] => [
      `${i}.svg`,
      `<svg xmlns="http://www.w3.org/2000/svg" width="${i + 1}" height="1"><!--${filler(i)}--></svg>`,
    ]),
    ...each(STYLES).map((i): [string, string] => [`${i}.css`, `/*${filler(i)}*/ :root { --style-${i}: loaded }`]),
    ...each(SCRIPTS).map((i): [string, string] => [`${i}.js`, `/*${filler(i)}*/ (window.scripts ??= []).push(${i})`]),
    ...each(FETCHES).map((i): [string, string] => [`${i}.json`, JSON.stringify({ i, filler: filler(i) })]),
  ];
  const page = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>100</title>
${each(STYLES)
  .map((i) => `<link rel="stylesheet" href="${url(i, `${i}.css`)}">`)
  .join('\n')}
${each(SCRIPTS)
  .map((i) => `<script src="${url(i, `${i}.js`)}"></script>`)
  .join('\n')}
${each(IMAGES)
  .map((i) => `<img src="${url(i, `${i}.svg`)}">`)
  .join('\n')}
<script>
  const urls = ${JSON.stringify(each(FETCHES).map((i) => url(i, `${i}.json`)))};
  window.fetched = Promise.all(urls.map((url) => fetch(url).then((answer) => answer.json())));
</script>`;
  for (const [name, text] of [...files, ['index.html', page] as const]) await writeFile(join(root, name), text);
}

/** What the page can say of itself, once all has come. */
const LOOK = `(async () => {
  const style = getComputedStyle(document.documentElement);
  return {
    images: [...document.images].filter((image, i) => image.complete && image.naturalWidth === i + 1).length,
    styles: [...Array(${STYLES}).keys()].filter((i) => style.getPropertyValue('--style-' + i).includes('loaded')).length,
    scripts: window.scripts.length,
    fetches: (await window.fetched).filter(({ i, filler }) => filler.length === i * 5000).length,
  };
})()`;

describe.each(['socks5', 'http'])('Chromium with a %s proxy', (scheme) => {
  it('Chromium loads a page and its 100 subresources through the tunnel, each whole', {
    timeout: 180_000,
  }, async () => {
    const server = `${scheme}://127.0.0.1:${proxy}`;
    const browser = await chromium.launch({
      executablePath: '/usr/bin/chromium',
      args: ['--no-sandbox'],
      proxy: { server },
    });
    atEnd(() => browser.close());
    const page = await browser.newPage();
    const failures: string[] = [];
    page.on('requestfailed', (request) => failures.push(`${request.url()} ${request.failure()?.errorText}`));
    const before = (await web.accessLog()).length;
    await page.goto(`http://${HOSTS[0]}:${web.port}/index.html`, { waitUntil: 'load', timeout: 30_000 });
    const seen = await page.evaluate(LOOK);
    expect({ seen, failures }).toEqual({
      seen: { images: IMAGES, styles: STYLES, scripts: SCRIPTS, fetches: FETCHES },
      failures: [],
    });
    const served = (await web.accessLog()).slice(before);
    expect(served.filter((line) => line.startsWith('200 '))).toHaveLength(101);
  });
});
