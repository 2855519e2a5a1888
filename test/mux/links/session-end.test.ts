import { describe, expect, it } from 'vitest';
import { DEFAULT_MUX_CONFIG } from '../../../src/mux/config.ts';
import { DEFAULT_RESUME_CONFIG } from '../../../src/mux/links/resume-config.ts';
import { LinkWorld } from '../../support/mux/links/link-world.ts';
import type { Side } from '../../support/mux/mux-rig.ts';
import { prng } from '../../support/prng.ts';

function worldOfTwoLinks(): LinkWorld {
  const settings = (role: Side) => ({
    mux: { ...DEFAULT_MUX_CONFIG, role },
    resume: DEFAULT_RESUME_CONFIG,
    memoryBytes: 64 * 1024 * 1024,
    turnMs: () => 0,
  });
  let ways = 0;
  const way = () => {
    ways += 1;
    // The first link is the shorter one.
    return { rate: 1_000, delayMs: ways <= 2 ? 10 : 20, fullBytes: 64 * 1024, loss: 0 };
  };
  const world = new LinkWorld(
    { client: settings('client'), exit: settings('exit'), way, isFaulty: false, firstWanted: 2 },
    prng(1),
  );
  world.time.run(2_000);
  return world;
}

describe('The end of a session with several links', () => {
  it('it is told by a link that works where the first one is late', () => {
    const world = worldOfTwoLinks();
    const { client, time } = world;
    expect(client.carriers.length).toBe(2);
    const [first] = client.carriers;
    first?.link.up.freeze();
    first?.link.down.freeze();
    for (let i = 0; i < 20 && first?.state.isStalled === false; i++) {
      client.open();
      client.planTurn();
      time.run(time.now + 100);
    }
    expect(first?.state.isStalled).toBe(true);
    client.session.fail('session-closed');
    client.planTurn();
    // The rig takes the end of either session for a fault.
    for (const side of ['client', 'exit'] as const) {
      expect(() => time.run(time.now + 100), side).toThrow('session-closed');
      expect(world[side].session.isOver).toBe(true);
    }
  });
});
