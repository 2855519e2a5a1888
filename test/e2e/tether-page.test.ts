/**
 * How the tether's page looks, in each state, light and dark, on small and large phones. With RENEW=1 its pictures are
 * kept in docs/pictures.
 * @module-tag waits
 */
import axe, { type AxeResults } from 'axe-core';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { rawLink } from '../support/tether/page-link.ts';
import { PagePictures } from '../support/tether/page-pictures.ts';
import { carrying, PAGE_STATES } from '../support/tether/page-states.ts';
import { type PhonePage, shareBrowser } from '../support/tether/phone.ts';

shareBrowser();

const LIMIT_MS = 120_000;
const SCHEMES = ['light', 'dark'] as const;
const SIZES = [
  [320, 568],
  [390, 844],
  [844, 390],
] as const;
/** What a phone shows between the bars of its browser. */
const BETWEEN_BARS = [390, 650] as const;

const pictures = new PagePictures();
const SHOWN = ['bare', 'joining', 'direct', 'active', 'offline', 'gone', 'expired', 'replaced'];
afterAll(() => pictures.keepAll(PAGE_STATES.flatMap(({ name, state }) => (SHOWN.includes(state) ? [name] : []))));

/** What axe-core finds that keeps people from using the page, and contrasts that it cannot tell. */
async function findings(page: PhonePage): Promise<unknown[]> {
  const { violations, incomplete, passes } = await page.evaluate<AxeResults>(
    `axe.run({ resultTypes: ['violations', 'incomplete'] })`,
  );
  // Otherwise nothing was looked at.
  expect(passes.map(({ id }) => id)).toEqual(expect.arrayContaining(['color-contrast', 'document-title']));
  const grave = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  const untold = incomplete.filter(({ id }) => id === 'color-contrast');
  return [...grave, ...untold].map(({ id, nodes }) => ({ id, nodes: nodes.map(({ html }) => html) }));
}

/** What is wider than the window or its card, and where the instruction to keep the page open ends (CSS pixels). */
const MEASURE = `(() => {
  const texts = [...document.querySelectorAll('h1, h2, p, dt, dd, button')].filter((text) => text.checkVisibility());
  const isOut = (text) => {
    const [inner, card] = [text, text.closest('section')].map((part) => part.getBoundingClientRect());
    return inner.left < card.left + 8 || inner.right > card.right - 8 || text.scrollWidth > text.clientWidth;
  };
  const keep = document.querySelector('.keep');
  return {
    wide: document.scrollingElement.scrollWidth - innerWidth,
    out: texts.filter(isOut).map((text) => text.textContent),
    keepEnd: keep.checkVisibility() ? keep.getBoundingClientRect().bottom + scrollY : 0,
  };
})()`;

interface Measured {
  readonly wide: number;
  readonly out: readonly string[];
  readonly keepEnd: number;
}

describe('the page in each state', () => {
  it.each(PAGE_STATES)(
    'a page that is $name can be used by everyone, and fits its window',
    {
      timeout: LIMIT_MS,
    },
    async ({ name, state, open }) => {
      const page = await open();
      await page.until(state);
      await page.evaluate(axe.source);
      for (const [width, height] of SIZES) {
        await page.resize(width, height);
        for (const scheme of SCHEMES) {
          await page.show(scheme, 'reduce');
          expect([width, scheme, await findings(page)]).toEqual([width, scheme, []]);
        }
        expect(await page.evaluate<Measured>(MEASURE)).toMatchObject({ wide: 0, out: [] });
      }
      await page.resize(...BETWEEN_BARS);
      expect((await page.evaluate<Measured>(MEASURE)).keepEnd).toBeLessThanOrEqual(BETWEEN_BARS[1]);
      expect(await page.state()).toBe(state);
      expect(page.complaints()).toEqual([]);
      if (state !== 'active') await pictures.take(name, page);
    },
  );
});

describe('the page while it carries', () => {
  it('a line shows the throughput and the drawing moves, but not where a person wants no movement', {
    timeout: LIMIT_MS,
  }, async () => {
    const { page, down } = await carrying();
    await page.show('light');
    const moving = `[...document.querySelectorAll('.line i')].flatMap((dashes) =>
      dashes.getAnimations().map(({ playbackRate }) => playbackRate))`;
    expect(await page.evaluate(moving)).toEqual([]);
    expect(await page.text('down-speed')).toBe('–');
    let sent = 0;
    const traffic = setInterval(() => {
      sent += 1;
      down(60_000 + 50_000 * Math.sin(sent / 3) * Math.sin(sent / 11));
    }, 100);
    try {
      await vi.waitFor(
        async () => {
          const rates = await page.evaluate<number[]>(moving);
          expect(rates).toHaveLength(2);
          for (const rate of rates) expect(rate).toBeGreaterThan(1);
        },
        { timeout: 30_000, interval: 100 },
      );
      expect(await page.evaluate('document.body.dataset.flow')).toBe('down');
      expect(await page.text('down-unit')).toMatch(/^[kM]bit\/s$/);
      const points = `document.getElementById('curve').getAttribute('d').split('L').length`;
      await vi.waitFor(async () => expect(await page.evaluate(points)).toBeGreaterThan(pictures.isOn ? 46 : 4), 30_000);
      await pictures.take('carrying', page);
      await pictures.keep('tether-carrying.png', page);
      await page.show('light', 'reduce');
      expect(await page.evaluate(moving)).toEqual([]);
    } finally {
      clearInterval(traffic);
    }
  });

  it('the page names the address of its laptop, as the laptop prints it', { timeout: LIMIT_MS }, async () => {
    const { page } = await carrying();
    const host = await page.evaluate<string>('location.host');
    expect(host).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(await page.text('host')).toBe(`Laptop at ${host}`);
  });
});

/** Keeps what the page waits for, ms. */
const DELAYS = `{
  const original = window.setTimeout;
  window.delays = [];
  window.setTimeout = (callback, ms, ...rest) => (window.delays.push(ms), original(callback, ms, ...rest));
}`;

describe('a laptop that has another connection', () => {
  it('the page says so when the laptop has closed its link and asks for no other', { timeout: LIMIT_MS }, async () => {
    const { near, page } = await rawLink(DELAYS);
    near.setHandler({ handleMessage: () => {}, handleDrain: () => {}, handleClose: () => {} });
    await page.until('active');
    near.close();
    await page.until('direct');
    expect(await page.text('detail')).toContain('Your laptop has its own connection');
    expect(await page.evaluate('delays.includes(120000)')).toBe(false);
  });

  it('the page does not say so of a link that was lost, until the laptop would have asked again', {
    timeout: LIMIT_MS,
  }, async () => {
    const { near, page } = await rawLink(DELAYS);
    near.setHandler({ handleMessage: () => {}, handleDrain: () => {}, handleClose: () => {} });
    await page.until('active');
    near.abort();
    await page.until('idle');
    expect(await page.evaluate('delays.includes(120000)')).toBe(true);
  });
});
