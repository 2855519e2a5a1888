import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { faultOfUrl, parseRelayUrls, settleUrl, wasGiven } from '../../src/app/public-url.ts';
import { saveInviteSettings } from '../../src/state/invite-settings.ts';
import { saveRelayUrl } from '../../src/state/relay-settings.ts';
import { openStateDir } from '../../src/state/state-dir.ts';
import { faultOf } from '../support/faults.ts';
import { tempDir } from '../support/temp-dir.ts';

const PLAIN = { urls: [], tls: false, path: undefined };
const AT = [{ host: '127.0.0.1', port: 8083 }];

async function newState() {
  return await openStateDir(join(await tempDir(), 'state'));
}

describe('the URL of a relay', () => {
  it('a relay URL that was given once is kept at every start without it, and no guess replaces it', async () => {
    const state = await newState();
    const given = { ...PLAIN, urls: ['wss://relay.example.org'] };
    expect(await settleUrl(state, given, AT)).toMatchObject({ url: 'wss://relay.example.org', source: 'given' });
    for (let start = 0; start < 3; start++)
      expect(await settleUrl(state, PLAIN, AT)).toMatchObject({ url: 'wss://relay.example.org', source: 'remembered' });
    expect(await settleUrl(state, { ...PLAIN, urls: ['ws://127.0.0.1:1'] }, AT)).toMatchObject({ source: 'given' });
    expect(await settleUrl(state, PLAIN, AT)).toMatchObject({ url: 'ws://127.0.0.1:1', source: 'remembered' });
  });

  it('several relay URLs are kept in their order, without doubles, until others are given', async () => {
    const state = await newState();
    const urls = ['wss://a.example', 'https://b.example/', 'ws://c.example:8080', 'wss://a.example/'];
    const kept = ['wss://a.example', 'wss://b.example', 'ws://c.example:8080'];
    const settled = await settleUrl(state, { ...PLAIN, urls }, AT);
    expect(settled).toMatchObject({ url: kept[0], urls: kept, source: 'given' });
    await saveInviteSettings(state, { url: settled.url, moreUrls: settled.urls.slice(1), pins: [] });
    expect(await settleUrl(state, PLAIN, AT)).toMatchObject({ urls: kept, source: 'remembered' });
    // An earlier version knows the first one only, and may write another one.
    await saveRelayUrl(state, 'wss://d.example', 'given');
    expect(await settleUrl(state, PLAIN, AT)).toMatchObject({ urls: ['wss://d.example'] });
  });

  it('a relay has at most eight URLs', () => {
    const urls = Array.from({ length: 9 }, (_, i) => `wss://relay${i}.example`);
    expect(parseRelayUrls(urls.slice(1))).toHaveLength(8);
    expect(faultOf(() => parseRelayUrls(urls))).toBe('bad-option');
  });

  it('a guessed relay URL is guessed again at the next start', async () => {
    const state = await newState();
    expect(await settleUrl(state, PLAIN, AT)).toMatchObject({ url: 'ws://127.0.0.1:8083', source: 'guessed' });
    const moved = [{ host: '127.0.0.1', port: 8084 }];
    expect(await settleUrl(state, { ...PLAIN, tls: true, path: '/x' }, moved)).toMatchObject({
      url: 'wss://127.0.0.1:8084/x',
    });
  });

  it('a relay that gets its certificate itself has the URL of its first name, unless one that fits was given', async () => {
    const state = await newState();
    const certified = ['relay.example.org', 'www.example.org'];
    const wishes = { ...PLAIN, tls: true, path: '/x', certified };
    expect(await settleUrl(state, wishes, AT)).toMatchObject({ url: 'wss://relay.example.org/x', source: 'guessed' });
    await settleUrl(state, { ...PLAIN, urls: ['wss://www.example.org:8443'] }, AT);
    expect(await settleUrl(state, wishes, AT)).toMatchObject({
      url: 'wss://www.example.org:8443',
      source: 'remembered',
    });
    const others = { ...wishes, certified: ['new.example.org'] };
    expect(await settleUrl(state, others, AT)).toMatchObject({ url: 'wss://new.example.org/x', source: 'guessed' });
  });

  it('a relay URL from a version that did not note its source is kept if it cannot be a guess', async () => {
    const state = await newState();
    const file = state.pathOf('relay.toml');
    await writeFile(file, '# Written by "wstun relay" when it starts.\nurl = "wss://relay.example.org"\n', {
      mode: 0o600,
    });
    expect(await settleUrl(state, PLAIN, AT)).toMatchObject({ url: 'wss://relay.example.org', source: 'remembered' });
    expect(await readFile(file, 'utf8')).toContain('as given with --url');
    await writeFile(file, 'url = "ws://127.0.0.1:1"\n');
    expect(await settleUrl(state, PLAIN, AT)).toMatchObject({ url: 'ws://127.0.0.1:8083', source: 'guessed' });
  });

  it.each([
    ['wss://relay.example.org/x', true],
    ['ws://8.8.4.4:8080', true],
    ['wss://[2001:4860:4860::8844]', true],
    ['ws://8.8.8.8:8080', false],
    ['ws://192.168.1.5:8080', false],
    ['ws://127.0.0.1:8080', false],
    ['ws://localhost:8080', false],
    ['ws://inside.example:8080', false],
  ])('the relay URL %s without a noted source counts as given: %s', (url, expected) => {
    const addresses = [{ host: 'inside.example', port: 8080 }];
    expect(wasGiven({ url, source: 'unknown' }, addresses, ['127.0.0.1', '8.8.8.8', '10.0.0.1'])).toBe(expected);
  });

  it('a relay URL is called wrong only if that is certain', () => {
    const own = ['127.0.0.1', '8.8.8.8'];
    const everywhere = [{ host: '0.0.0.0', port: 443 }];
    expect(faultOfUrl('ws://8.8.8.8:443', true, everywhere, own)).toContain('wss://');
    expect(faultOfUrl('wss://8.8.8.8', false, everywhere, own)).toContain('--tls-cert');
    for (const [url, tls, addresses] of [
      ['wss://8.8.8.8', true, everywhere],
      ['wss://relay.example.org', false, everywhere],
      ['wss://8.8.8.8:8443', false, everywhere],
      ['wss://8.8.8.8', false, [{ host: '127.0.0.1', port: 443 }]],
      ['wss://8.8.4.4', false, everywhere],
    ] as const)
      expect(faultOfUrl(url, tls, addresses, own)).toBeUndefined();
  });
});
