/** The fenced blocks of README.md, as they stand. */
import { readFileSync } from 'node:fs';

export interface ReadmeBlock {
  /** After the fence: `sh`, `text`, `caddyfile`. */
  readonly language: string;
  /** With the line end of its last line. */
  readonly text: string;
}

export function readmeBlocks(): readonly ReadmeBlock[] {
  const page = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
  const blocks = [...page.matchAll(/^```(\w*)\n(.*?)^```$/gms)];
  return blocks.map(([, language = '', text = '']) => ({ language, text }));
}
