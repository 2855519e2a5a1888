/** The test vectors of a page under docs, in the form that docs/protocol.md, appendix A, describes. */
import { readFileSync } from 'node:fs';

export interface Vectors {
  /** In the order of the page. */
  readonly names: readonly string[];
  bytes(name: string): Buffer;
  /** Of a name that ends in `.text`. */
  text(name: string): string;
  /** Of a name that ends in `.number`. */
  number(name: string): number;
  /** Names that were not asked for so far. */
  unused(): string[];
}

/** Of the session of appendix A. */
export const SESSION_ID = Buffer.from(Array.from({ length: 16 }, (_, i) => i));

export const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex');

/** Whether the vector is one of test/protocol/session-vectors.test.ts. */
export const isOfSession = (name: string): boolean => /^(?:resume|datagrams|links)\./.test(name);

/** @param page its path from the root of the repository */
export function readVectors(page: string): Vectors {
  const values = valuesOf(readFileSync(new URL(`../../../${page}`, import.meta.url), 'utf8'));
  const unused = new Set(values.keys());
  const take = (name: string): string => {
    const value = values.get(name);
    if (value === undefined) throw new Error(`${page} has no vector ${name}`);
    unused.delete(name);
    return value;
  };
  return {
    names: [...values.keys()],
    bytes: (name) => bytesOf(take(name)),
    text: take,
    number: (name) => Number(take(name)),
    unused: () => [...unused],
  };
}

function valuesOf(page: string): Map<string, string> {
  const values = new Map<string, string>();
  const appendix = page.slice(page.indexOf('\n## Appendix A'));
  for (const [, block = ''] of appendix.matchAll(/^```text\n(.*?)^```$/gms)) {
    for (const line of block.replaceAll('\n  ', '').split('\n')) {
      if (line === '' || line.startsWith('#')) continue;
      const [, name, value] = /^([\w.-]+): (\S.*)$/.exec(line) ?? [];
      if (name === undefined || value === undefined || values.has(name)) throw new Error(`not a vector: ${line}`);
      values.set(name, value);
    }
  }
  return values;
}

function bytesOf(hex: string): Buffer {
  if (!/^(?:[0-9a-f]{2})*$/.test(hex)) throw new Error(`not hexadecimal: ${hex}`);
  return Buffer.from(hex, 'hex');
}
