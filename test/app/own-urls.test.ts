/** Which tickets are for a relay: what its owner says, what it remembers, and what a copy of its directory does not. */
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { adoptUrls, OwnUrls } from '../../src/app/own-urls.ts';
import { type PublicUrl, parseOwnUrls } from '../../src/app/public-url.ts';
import { audienceOf } from '../../src/crypto/ticket.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { saveInviteSettings } from '../../src/state/invite-settings.ts';
import { MAX_OWN_URLS, OWN_URLS_FILE, readOwnUrls, rememberOwnUrl } from '../../src/state/own-urls.ts';
import { saveRelayUrl } from '../../src/state/relay-settings.ts';
import { openStateDir, type StateDir } from '../../src/state/state-dir.ts';
import { collectingLogger } from '../support/collecting-logger.ts';
import { faultOf } from '../support/faults.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const A = 'wss://a.example';
const B = 'wss://b.example/any/path';
const C = 'ws://c.example:8080';
const ALL = [A, B, C, 'wss://d.example'];
const NO_NAMES = { certified: undefined, path: undefined };

async function newState(): Promise<StateDir> {
  return await openStateDir(join(await tempDir(), 'state'));
}

function publicUrl(urls: readonly [string, ...string[]], source: PublicUrl['source'] = 'given'): PublicUrl {
  return { url: urls[0], urls, source, fault: undefined };
}

/** A relay that starts in that directory. */
async function start(
  state: StateDir,
  url: PublicUrl,
  { given = [], names = NO_NAMES, logger = silentLogger }: Partial<StartOptions> = {},
): Promise<OwnUrls> {
  const own = new OwnUrls(state, parseOwnUrls(given), logger);
  await own.settle(url, names);
  atEnd(() => own.close());
  return own;
}

interface StartOptions {
  readonly given: readonly string[];
  readonly names: Parameters<OwnUrls['settle']>[1];
  readonly logger: typeof silentLogger;
}

/** Those whose tickets open there. */
const opened = (own: OwnUrls, urls: readonly string[] = ALL): readonly string[] =>
  urls.filter((url) => own.has(audienceOf(url)));

describe('the own URLs of a relay', () => {
  it('of several URLs the first is its own, and the others are those of other relays, which it can name', async () => {
    const own = await start(await newState(), publicUrl([A, B, C]));
    expect(opened(own)).toEqual([A]);
    expect(ALL.map((url) => own.urlOf(audienceOf(url)))).toEqual([undefined, B, C, undefined]);
  });

  it('a relay whose URL is guessed looks at no audience, unless --own-url says one', async () => {
    expect(opened(await start(await newState(), publicUrl([A], 'guessed')))).toEqual(ALL);
    expect(opened(await start(await newState(), publicUrl([A], 'guessed'), { given: [B] }))).toEqual([A, B]);
    expect(opened(await start(await newState(), publicUrl([A], 'remembered')))).toEqual([A]);
  });

  it('--own-url adds names, also one that --url calls another relay', async () => {
    const own = await start(await newState(), publicUrl([A, B, C]), { given: ['https://b.example:443/any/path/'] });
    expect(opened(own)).toEqual([A, B]);
    expect(own.urlOf(audienceOf(B))).toBeUndefined();
    const many = Array.from({ length: MAX_OWN_URLS + 1 }, (_, i) => `wss://relay${i}.example`);
    expect(faultOf(() => parseOwnUrls(many))).toBe('bad-option');
    expect(faultOf(() => parseOwnUrls(['relay.example']))).toBe('bad-url');
  });

  it('the names of its certificate are its own, under its path', async () => {
    const names = { certified: ['a.example', 'b.example'], path: '/any/path' };
    const own = await start(await newState(), publicUrl(['wss://relay.example/any/path']), { names });
    expect(opened(own, ['wss://a.example/any/path', B, A])).toEqual(['wss://a.example/any/path', B]);
  });

  it('it knows which they are before anybody is answered', async () => {
    const own = new OwnUrls(await newState(), [], silentLogger);
    let isSettled = false;
    void own.settled.then(() => {
      isSettled = true;
    });
    await Promise.resolve();
    expect(isSettled).toBe(false);
    await own.settle(publicUrl([A]), NO_NAMES);
    await own.settled;
    expect(opened(own)).toEqual([A]);
    await own.close();
  });
});

describe('URLs that a relay had before', () => {
  it('they stay its own, the latest sixteen, whether given or guessed', async () => {
    const state = await newState();
    await start(state, publicUrl([C], 'guessed'));
    await start(state, publicUrl([B]));
    expect(opened(await start(state, publicUrl([A])))).toEqual([A, B, C]);
    expect(await readOwnUrls(state)).toEqual([A, B, C]);
    for (let i = 0; i < MAX_OWN_URLS - 2; i++) await start(state, publicUrl([`wss://relay${i}.example`]));
    expect(await readOwnUrls(state)).toHaveLength(MAX_OWN_URLS);
    expect(opened(await start(state, publicUrl([B])))).toEqual([A, B]);
  });

  it('one that --url calls another relay from now on is no longer its own, and the log says so', async () => {
    const state = await newState();
    await start(state, publicUrl([B]));
    const { logger, lines } = collectingLogger();
    expect(opened(await start(state, publicUrl([A, B]), { logger }))).toEqual([A]);
    expect(lines).toEqual([
      expect.objectContaining({ level: 40, url: B, message: expect.stringContaining(`--own-url ${B}`) }),
    ]);
    expect(opened(await start(state, publicUrl([A])))).toEqual([A]);
    expect(opened(await start(state, publicUrl([A, B]), { given: [B], logger }))).toEqual([A, B]);
    expect(lines).toHaveLength(1);
  });

  it('in a copy of the directory they are those of the other relay', async () => {
    const state = await newState();
    await start(state, publicUrl([C]));
    await start(state, publicUrl([A]));
    const copied = join(await tempDir(), 'copy');
    await cp(state.path, copied, { recursive: true, preserveTimestamps: true, mode: 0 });
    const copy = await openStateDir(copied);
    expect(await readOwnUrls(copy)).toEqual([]);
    expect(opened(await start(copy, publicUrl([B])))).toEqual([B]);
    expect(await readOwnUrls(copy)).toEqual([B]);
    expect(opened(await start(state, publicUrl([A])))).toEqual([A, C]);
  });

  it('two relays on one directory, each of which names the other, do not take each other’s tickets', async () => {
    const state = await newState();
    const [one, other] = [await start(state, publicUrl([A, B])), await start(state, publicUrl([B, A]))];
    await adoptUrls(state, [C]);
    await until(() => [one, other].every((own) => own.has(audienceOf(C))));
    expect([opened(one), opened(other)]).toEqual([
      [A, C],
      [B, C],
    ]);
  });

  it('two relays on one directory are not told that they had each other’s URL before', async () => {
    const state = await newState();
    const { logger, lines } = collectingLogger();
    for (const urls of [
      [A, B],
      [B, A],
      [A, B],
    ] as const)
      await start(state, publicUrl(urls), { logger });
    // Which of the two it was is not known.
    expect(lines.map(({ message }) => message)).toEqual(
      [A, B].map((url) => expect.stringMatching(`^${url} is in own-urls.toml, but --url says .* another relay's`)),
    );
    expect(await readOwnUrls(state)).toEqual([A]);
  });

  it('an unchanged start writes nothing, and a damaged file is reported', async () => {
    const state = await newState();
    await start(state, publicUrl([A]));
    const before = await state.signature(OWN_URLS_FILE);
    await start(state, publicUrl([A]));
    expect(await state.signature(OWN_URLS_FILE)).toBe(before);
    const text = await readFile(state.pathOf(OWN_URLS_FILE), 'utf8');
    for (const bad of ['', 'urls = 1', text.replace(A, 'nonsense'), text.replace(/^directory.*$/m, ''), 'urls = [']) {
      await writeFile(state.pathOf(OWN_URLS_FILE), bad);
      await expect(readOwnUrls(state), bad).rejects.toMatchObject({ fault: 'state-unusable' });
    }
  });

  it('two processes that remember at once lose none', async () => {
    const state = await newState();
    await Promise.all([A, B, C].map((url) => rememberOwnUrl(state, url)));
    expect(new Set(await readOwnUrls(state))).toEqual(new Set([A, B, C]));
  });
});

describe('invites with other URLs than those of the relay', () => {
  it('the first one is its own from now on, also for the relay that runs', async () => {
    const state = await newState();
    const own = await start(state, publicUrl([A]));
    await saveRelayUrl(state, A, 'given');
    await adoptUrls(state, [C]);
    await until(() => own.has(audienceOf(C)));
    expect(opened(own)).toEqual([A, C]);
  });

  it('nothing is adopted if one of them is its own, or if the first is that of another relay', async () => {
    const state = await newState();
    await start(state, publicUrl([A, B]));
    await saveRelayUrl(state, A, 'given');
    await saveInviteSettings(state, { url: A, moreUrls: [B], pins: [] });
    for (const urls of [[], [B], [C, A], [B, C], ['ws://a.example:443']]) await adoptUrls(state, urls);
    expect(await readOwnUrls(state)).toEqual([A]);
    await adoptUrls(state, [C, B]);
    expect(await readOwnUrls(state)).toEqual([C, A]);
  });

  it('what was read last stays in force while the file is damaged', async () => {
    const state = await newState();
    const { logger, lines } = collectingLogger();
    const own = await start(state, publicUrl([A]), { logger });
    await writeFile(state.pathOf(OWN_URLS_FILE), 'nonsense');
    await until(() => lines.length > 0);
    expect(lines).toEqual([expect.objectContaining({ level: 50, message: expect.stringContaining('damaged') })]);
    expect(opened(own)).toEqual([A]);
  });
});
