import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Visitor, Visitors } from '../../../src/relay/site/visitors.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

class FakeVisitor implements Visitor {
  state: 'new' | 'present' | 'dropped' = 'new';
  isBusy = false;

  constructor(
    private readonly visitors: Visitors,
    readonly source: string | undefined,
  ) {
    visitors.enter(this);
  }

  begin(): void {
    expect(this.state).toBe('new');
    this.state = 'present';
  }

  drop(): void {
    this.state = 'dropped';
    // As a socket's 'close' does.
    this.visitors.leave(this);
  }
}

function start(room: number) {
  const clock = new VirtualClock();
  const visitors = new Visitors(room, clock);
  const come = (source?: string) => new FakeVisitor(visitors, source);
  return { clock, visitors, come };
}

describe('the visitors of a site', () => {
  it('as long as there is room, everyone stays for as long as he likes', async () => {
    const { clock, come } = start(4);
    const all = Array.from({ length: 4 }, () => come('a'));
    await clock.advance(3_600_000);
    expect(all.map(({ state }) => state)).toEqual(['present', 'present', 'present', 'present']);
  });

  it('one more takes the room of whom nothing has been heard of for longest, at least 3 s, and waits till then', async () => {
    const { clock, visitors, come } = start(4);
    const [first, second] = [come(), come()];
    await clock.advance(1_000);
    come();
    come();
    visitors.touch(first);
    const next = come();
    await clock.advance(1_900);
    expect([second.state, next.state]).toEqual(['present', 'new']);
    await clock.advance(200);
    expect([first.state, second.state, next.state]).toEqual(['present', 'dropped', 'present']);
  });

  it('who is being answered is not idle', async () => {
    const { clock, come } = start(2);
    const [busy, idle] = [come(), come()];
    busy.isBusy = true;
    await clock.advance(5_000);
    come();
    expect([busy.state, idle.state]).toEqual(['present', 'dropped']);
  });

  it('a source with a quarter of the room gets no more while there is none, and gives way to others', async () => {
    const { clock, visitors, come } = start(8);
    const many = Array.from({ length: 8 }, () => come('flood'));
    for (const visitor of many) visitors.touch(visitor);
    const more = come('flood');
    const other = come('other');
    expect([more.state, other.state]).toEqual(['new', 'present']);
    expect(many.filter(({ state }) => state === 'dropped').length).toBe(1);
    await clock.advance(2_000);
    expect(more.state).toBe('new');
    // One of its own gives way.
    await clock.advance(2_000);
    expect(more.state).toBe('present');
  });

  it('who leaves makes room for who waits longest', () => {
    const { visitors, come } = start(1);
    const [first, second, third] = [come(), come(), come()];
    expect([second.state, third.state]).toEqual(['new', 'dropped']);
    visitors.leave(first);
    expect(second.state).toBe('present');
  });

  it('the room is never exceeded, and no visitor is forgotten, whatever happens', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('come' as const), source: fc.constantFrom('a', 'b', undefined) }),
      fc.record({ kind: fc.constantFrom('leave' as const, 'touch' as const, 'busy' as const), at: fc.nat(30) }),
      fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(5_000) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 6 }), fc.array(step, { maxLength: 80 }), async (room, steps) => {
        const { clock, visitors, come } = start(room);
        const all: FakeVisitor[] = [];
        for (const each of steps) {
          if (each.kind === 'come') all.push(come(each.source));
          else if (each.kind === 'wait') await clock.advance(each.ms);
          else {
            const visitor = all[each.at];
            if (visitor === undefined || visitor.state === 'dropped') continue;
            if (each.kind === 'touch') visitors.touch(visitor);
            else if (each.kind === 'busy') visitor.isBusy = !visitor.isBusy;
            else visitor.drop();
          }
          const present = all.filter(({ state }) => state === 'present').length;
          expect(present).toBe(visitors.size);
          expect(present).toBeLessThanOrEqual(room);
        }
        for (const visitor of all) if (visitor.state === 'present') visitor.drop();
        for (let turn = 0; turn < all.length + 50; turn++) {
          await clock.advance(100);
          for (const visitor of all) if (visitor.state === 'present') visitor.drop();
        }
        expect(all.filter(({ state }) => state === 'new')).toEqual([]);
      }),
    );
  });
});
