/** Pictures of the page for docs/tether.md, from a test that has it in the states anyway. Only with RENEW=1. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Phone, type PhonePage } from './phone.ts';

const FOLDER = join(import.meta.dirname, '../../../docs/pictures');
const SCHEMES = ['light', 'dark'] as const;
const WINDOW = [390, 780] as const;
/** CSS pixels; a picture has twice as many. */
const PHONE_WIDTH = 188;

interface Picture {
  readonly name: string;
  /** PNG in base64. */
  readonly light: string;
  readonly dark: string;
}

export class PagePictures {
  private readonly pictures: Picture[] = [];
  readonly isOn = process.env.RENEW === '1';

  async take(name: string, page: PhonePage): Promise<void> {
    if (!this.isOn) return;
    await page.resize(...WINDOW);
    const [light, dark] = [await pictureIn('light', page), await pictureIn('dark', page)];
    this.pictures.push({ name, light: light.toString('base64'), dark: dark.toString('base64') });
  }

  /** One picture of one state by itself. */
  async keep(file: string, page: PhonePage): Promise<void> {
    if (!this.isOn) return;
    await page.resize(390, 650);
    await writeFile(join(FOLDER, file), await pictureIn('light', page));
  }

  /** All states side by side. @param names in this order */
  async keepAll(names: readonly string[]): Promise<void> {
    if (!this.isOn) return;
    const found = names.flatMap((name) => this.pictures.filter((picture) => picture.name === name));
    const sheet = await (await Phone.start()).open('about:blank');
    for (const scheme of SCHEMES) {
      const figures = found.map(
        (picture) =>
          `<figure><img src="data:image/png;base64,${picture[scheme]}"><figcaption>${picture.name}</figcaption></figure>`,
      );
      await sheet.evaluate(`document.write(${JSON.stringify(sheetOf(figures, scheme))}), document.close()`);
      await sheet.evaluate('Promise.all([...document.images].map((image) => image.decode()))');
      await sheet.resize(4 * (PHONE_WIDTH + 12) + 12, await sheet.evaluate<number>('document.body.offsetHeight'));
      await writeFile(join(FOLDER, `tether-${scheme}.png`), await pictureIn(scheme, sheet));
    }
  }
}

async function pictureIn(scheme: 'light' | 'dark', page: PhonePage): Promise<Buffer> {
  await page.show(scheme);
  await page.evaluate(
    'Promise.all(document.getAnimations().map((one) => one instanceof CSSTransition && one.finished))',
  );
  return await page.picture();
}

function sheetOf(figures: readonly string[], scheme: 'light' | 'dark'): string {
  const [ground, text] = scheme === 'light' ? ['#d9dce3', '#333'] : ['#2b2f36', '#ccc'];
  return `<!doctype html><meta name="viewport" content="width=device-width"><style>
    body { margin: 0; padding: 12px; box-sizing: border-box; width: ${4 * (PHONE_WIDTH + 12) + 12}px;
      display: grid; grid-template-columns: repeat(4, ${PHONE_WIDTH}px); gap: 12px;
      background: ${ground}; color: ${text}; font: 11px sans-serif; text-align: center }
    figure { margin: 0 } img { width: 100%; border-radius: 14px; display: block; margin-bottom: 5px }
  </style>${figures.join('')}`;
}
