import { describe, expect, it } from 'vitest';
import { DescriptorGuard } from '../../src/app/descriptor-guard.ts';
import { MemoryGuard } from '../../src/app/memory-guard.ts';
import { silentLogger } from '../../src/observability/logger.ts';

const MINUTE = 60_000;

function guardWith(limit: number | undefined) {
  const warnings: string[] = [];
  const state: { lowestFree: number | undefined } = { lowestFree: 20 };
  const guard = new DescriptorGuard({
    logger: { ...silentLogger, warn: (_fields, message) => warnings.push(message) },
    limit,
    lowestFree: () => state.lowestFree,
  });
  return { guard, warnings, state };
}

describe('the guard of file descriptors', () => {
  it('the descriptor guard logs nothing while there are enough descriptors', () => {
    const { guard, warnings } = guardWith(1_000);
    for (let now = 0; now < 10 * MINUTE; now += 100) expect(guard.isShort(now)).toBe(false);
    expect(warnings).toEqual([]);
  });

  it('the descriptor guard is short when only its reserve is left, and no longer when descriptors are free again', () => {
    const { guard, state } = guardWith(1_000);
    state.lowestFree = 935;
    expect(guard.isShort(0)).toBe(false);
    state.lowestFree = 936;
    expect(guard.isShort(100)).toBe(true);
    state.lowestFree = undefined;
    expect(guard.isShort(200)).toBe(true);
    state.lowestFree = 300;
    expect(guard.isShort(300)).toBe(false);
  });

  it('the descriptor guard keeps an eighth of a low limit in reserve', () => {
    const { guard, state } = guardWith(64);
    state.lowestFree = 55;
    expect(guard.isShort(0)).toBe(false);
    state.lowestFree = 56;
    expect(guard.isShort(100)).toBe(true);
  });

  it('the descriptor guard warns once a minute while descriptors are short, with the limit and what to raise', () => {
    const { guard, warnings, state } = guardWith(64);
    state.lowestFree = undefined;
    for (let now = 0; now < 3 * MINUTE; now += 100) guard.isShort(now);
    expect(warnings).toHaveLength(3);
    for (const part of ['64', 'LimitNOFILE=', 'ulimit -n', 'WSTUN-E135']) expect(warnings[0]).toContain(part);
  });

  it('the descriptor guard notices a shortage even if the limit is not known', () => {
    const { guard, warnings, state } = guardWith(undefined);
    expect(guard.isShort(0)).toBe(false);
    state.lowestFree = undefined;
    expect(guard.isShort(100)).toBe(true);
    expect(warnings).toHaveLength(1);
  });

  it('the descriptor guard warns at the start if the limit is below what full use needs', () => {
    const { guard, warnings } = guardWith(64);
    guard.warnIfLow(64);
    expect(warnings).toEqual([]);
    guard.warnIfLow(11_000);
    expect(warnings).toEqual([expect.stringMatching(/low: it is 64.*11000.*LimitNOFILE=/)]);
  });

  it('the descriptor guard finds the lowest free descriptor of this process', () => {
    expect(new DescriptorGuard({ logger: silentLogger }).isShort()).toBe(false);
    expect(new DescriptorGuard({ logger: silentLogger, limit: 1 }).isShort()).toBe(true);
  });
});

describe('the guard of memory', () => {
  it('the memory guard keeps its last result if a measurement fails', () => {
    let rss: number | undefined = 200;
    const guard = new MemoryGuard(100, () => {
      if (rss === undefined) throw new Error('EMFILE: too many open files, uv_resident_set_memory');
      return rss;
    });
    expect(guard.isOver(0)).toBe(true);
    rss = undefined;
    expect(guard.isOver(1_000)).toBe(true);
    rss = 50;
    expect(guard.isOver(2_000)).toBe(false);
  });
});
