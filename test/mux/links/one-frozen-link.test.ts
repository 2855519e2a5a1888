/** One of several links freezes, and nobody is told: how long small messages wait that were to go by it. */
import { describe, expect, it } from 'vitest';
import { DEFAULT_MUX_CONFIG } from '../../../src/mux/config.ts';
import { DEFAULT_RESUME_CONFIG } from '../../../src/mux/links/resume-config.ts';
import { LinkWorld } from '../../support/mux/links/link-world.ts';
import type { LinkedEnd } from '../../support/mux/links/linked-end.ts';
import type { Side } from '../../support/mux/mux-rig.ts';
import { type Prng, prng } from '../../support/prng.ts';

const SMALL_BYTES = 40;
const EVERY_MS = 20;
const BULK_BYTES = 200_000;
const BULK_AHEAD_BYTES = 2_000_000;
const WARM_MS = 1_500;
const WATCHED_MS = 2_000;

interface Path {
  readonly roundTripMs: number;
  /** Bytes a ms, of each link. */
  readonly rate: number;
  readonly links: number;
}

function pathOf(random: Prng): Path {
  return { roundTripMs: 2 * (1 + random.below(60)), rate: 500 * 2 ** random.below(3), links: 3 + random.below(5) };
}

function worldOn({ roundTripMs, rate, links }: Path, random: Prng): LinkWorld {
  const settings = (role: Side) => ({
    mux: { ...DEFAULT_MUX_CONFIG, role },
    resume: DEFAULT_RESUME_CONFIG,
    memoryBytes: 64 * 1024 * 1024,
    turnMs: () => 0,
  });
  const way = () => ({ rate, delayMs: roundTripMs / 2, fullBytes: 256 * 1024, loss: 0 });
  const ends = { client: settings('client'), exit: settings('exit') };
  return new LinkWorld({ ...ends, way, isFaulty: false, firstWanted: links }, random);
}

/** A stream of small messages, and one of bulk. */
class Traffic {
  /** The longest that a small message was on its way that has arrived, ms. */
  longestMs = 0;
  private readonly pending: { readonly at: number; readonly end: number }[] = [];

  constructor(
    private readonly world: LinkWorld,
    private readonly from: LinkedEnd,
  ) {}

  begin(withBulk: boolean): void {
    const { client, exit, time } = this.world;
    for (let i = 0; i < 2; i++) client.open();
    client.planTurn();
    time.run(time.now + 500);
    for (let i = 0; i < 2; i++) exit.accept(0);
    exit.planTurn();
    time.run(time.now + 500);
    this.read();
    this.writeSmall();
    if (withBulk) this.writeBulk(this.from);
  }

  /** What has not arrived yet, ms. */
  get waitingMs(): number {
    const [first] = this.pending;
    return first === undefined ? 0 : this.world.time.now - first.at;
  }

  private read(): void {
    const { ends, time } = this.world;
    for (const end of ends)
      while (end.pick(0, ({ unconsumed }) => unconsumed > 0)) {
        end.consume(0, Number.POSITIVE_INFINITY);
        end.planTurn();
      }
    const received = this.from.peer.pick(0, () => true)?.received ?? 0;
    for (let [first] = this.pending; first !== undefined && first.end <= received; [first] = this.pending) {
      this.longestMs = Math.max(this.longestMs, time.now - first.at);
      this.pending.shift();
    }
    time.after(1, () => this.read());
  }

  private writeSmall(): void {
    const { time } = this.world;
    this.from.write(0, SMALL_BYTES);
    this.from.planTurn();
    this.pending.push({ at: time.now, end: this.from.pick(0, () => true)?.written ?? 0 });
    time.after(EVERY_MS, () => this.writeSmall());
  }

  writeBulk(from: LinkedEnd): void {
    const ahead = (from.pick(1, () => true)?.written ?? 0) - (from.peer.pick(1, () => true)?.received ?? 0);
    if (ahead < BULK_AHEAD_BYTES) from.write(1, BULK_BYTES);
    from.planTurn();
    this.world.time.after(10, () => this.writeBulk(from));
  }
}

describe('A link that freezes beside others', () => {
  it.each([
    ['client', false, 1],
    ['exit', false, 2],
    ['client', false, 3],
    ['exit', false, 4],
    ['client', true, 5],
    ['exit', true, 6],
  ] as const)(
    'delays no small message of the %s by more than it takes to find it late (bulk: %s, seed %i)',
    (side, withBulk, seed) => {
      const random = prng(seed);
      const path = pathOf(random);
      const { roundTripMs, links } = path;
      const world = worldOn(path, random);
      const { time, client } = world;
      time.run(3_000 + 4 * links * roundTripMs);
      expect(client.carriers.length).toBe(links);
      const traffic = new Traffic(world, world[side]);
      traffic.begin(withBulk);
      time.run(time.now + WARM_MS);
      traffic.longestMs = 0;
      // The one that carries them.
      const [newest] = [...world[side].carriers].sort((a, b) => b.state.sentAt - a.state.sentAt);
      newest?.link.up.freeze();
      newest?.link.down.freeze();
      time.run(time.now + WATCHED_MS);
      // Found late by its round trip, and then on its way by another link. Bulk makes round trips longer.
      const lateMs = Math.max(2.5 * roundTripMs, roundTripMs + 60);
      expect(traffic.longestMs).toBeGreaterThan(0);
      expect(traffic.longestMs).toBeLessThan(1.15 * (lateMs + roundTripMs / 2) + 20);
    },
  );
});

describe('All links freeze, and another one joins', () => {
  it.each([
    ['client', 3, 1],
    ['exit', 3, 2],
    ['client', 6, 3],
    ['exit', 6, 4],
  ] as const)('what the %s sends again of bulk delays no small message (%i links, seed %i)', (side, links, seed) => {
    const roundTripMs = 100;
    const world = worldOn({ roundTripMs, rate: 500, links }, prng(seed));
    const { time, client } = world;
    time.run(10_000);
    expect(client.carriers.length).toBe(links);
    const traffic = new Traffic(world, world[side]);
    traffic.begin(true);
    // Both ways, so that credit of bulk has to go, too.
    traffic.writeBulk(world[side === 'client' ? 'exit' : 'client']);
    time.run(time.now + WARM_MS);
    const frozenAt = time.now;
    for (const { link } of client.carriers) {
      link.up.freeze();
      link.down.freeze();
    }
    world.want(links + 1);
    traffic.longestMs = 0;
    while (client.carriers.length === links) time.run(time.now + 10);
    const joinedMs = time.now - frozenAt;
    // Found late, and then there with the first messages of the new link; also when the others have been given up.
    time.run(time.now + 6_000);
    expect(traffic.longestMs).toBeGreaterThan(0);
    expect(Math.max(traffic.longestMs, traffic.waitingMs)).toBeLessThan(joinedMs + 1.5 * roundTripMs);
  });
});
