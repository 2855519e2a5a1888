import { describe, expect, it } from 'vitest';
import { KeptList } from '../../src/cluster/kept-list.ts';
import { WstunError } from '../../src/errors.ts';
import { collectingLogger } from '../support/collecting-logger.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

function world() {
  const clock = new VirtualClock();
  const { logger, lines } = collectingLogger();
  const disk = { isFull: false, text: '' };
  const write = async (_name: string, text: string): Promise<void> => {
    if (disk.isFull) throw new WstunError('state-unusable', 'ENOSPC');
    disk.text = text;
  };
  const kept = new KeptList({ read: async () => disk.text, write }, logger, clock);
  return { clock, disk, kept, lines };
}

describe('the list that a relay keeps of its cluster', () => {
  it('a list that a full disk does not take is written when there is room, and the fault is logged once', async () => {
    const { clock, disk, kept, lines } = world();
    kept.keep('[alice]');
    await clock.advance(1);
    disk.isFull = true;
    kept.keep('[]');
    await clock.advance(60_000);
    expect([disk.text.includes('[alice]'), lines.length]).toEqual([true, 1]);
    disk.isFull = false;
    await clock.advance(10_000);
    expect(disk.text).toContain('\n[]');
  });

  it('of lists that come while the disk is full the last is written', async () => {
    const { clock, disk, kept } = world();
    disk.isFull = true;
    for (const text of ['[a]', '[b]', '[c]']) {
      kept.keep(text);
      await clock.advance(1_000);
    }
    disk.isFull = false;
    await clock.advance(10_000);
    expect(disk.text).toContain('[c]');
  });

  it('a full disk keeps no relay from ending', async () => {
    const { disk, kept } = world();
    disk.isFull = true;
    kept.keep('[alice]');
    await kept.close();
    expect(disk.text).toBe('');
  });
});
