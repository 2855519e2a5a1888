/** Writes state and counts into the document. Decides nothing. */
import type { Awake } from './awake.ts';
import { formatBytes, formatDuration, formatSpeed } from './format.ts';
import type { PageClock } from './page-clock.ts';
import type { STRINGS, State, Strings } from './strings.ts';
import type { Counts } from './tether.ts';

type Line = keyof typeof STRINGS.routeLabel;

/** Laptop to phone, phone to relay, and the mood. */
const LOOKS: Readonly<Record<State, readonly [local: Line, upstream: Line, mood: 'good' | 'wait' | 'bad']>> = {
  joining: ['busy', 'idle', 'wait'],
  idle: ['on', 'idle', 'good'],
  standby: ['on', 'idle', 'good'],
  opening: ['on', 'busy', 'wait'],
  active: ['on', 'on', 'good'],
  offline: ['on', 'broken', 'bad'],
  refused: ['on', 'broken', 'bad'],
  gone: ['broken', 'idle', 'bad'],
  expired: ['broken', 'idle', 'bad'],
  bare: ['idle', 'idle', 'wait'],
  replaced: ['idle', 'idle', 'wait'],
};

/** Weight of the latest sample: speeds that jump cannot be read. */
const SMOOTHING = 0.35;

export class View {
  private at: number;
  private before: Counts = { up: 0, down: 0, since: undefined };
  private speed = { up: 0, down: 0 };

  constructor(
    private readonly clock: PageClock,
    private readonly strings: Strings,
  ) {
    this.at = clock.now();
    for (const node of document.querySelectorAll<HTMLElement>('[data-text]'))
      node.textContent = textAt(strings, node.dataset.text);
  }

  showState(state: State): void {
    const { headline, detail, route, routeLabel } = this.strings;
    const [local, upstream, mood] = LOOKS[state];
    document.body.dataset.state = state;
    document.body.dataset.mood = mood;
    document.body.dataset.local = local;
    document.body.dataset.upstream = upstream;
    document.title = `${headline[state]} – wstun`;
    // A screen reader reads each change aloud, so unchanged text is not written again.
    setText('headline', headline[state]);
    setText('detail', detail[state]);
    const label = `${route.laptop}, ${routeLabel[local]}: ${route.phone}. ${route.phone}, ${routeLabel[upstream]}: ${route.relay}.`;
    element('route').setAttribute('aria-label', label);
    element('continue').hidden = state !== 'replaced';
  }

  /** Called about once a second. */
  showCounts(counts: Counts): void {
    const now = this.clock.now();
    const seconds = Math.max(0.05, (now - this.at) / 1000);
    for (const way of ['up', 'down'] as const) {
      const rate = (counts[way] - this.before[way]) / seconds;
      const smooth = this.speed[way] + SMOOTHING * (rate - this.speed[way]);
      this.speed[way] = smooth < 50 ? 0 : smooth;
      const { value, unit } = formatSpeed(this.speed[way]);
      setText(`${way}-speed`, value);
      setText(`${way}-unit`, unit);
    }
    this.at = now;
    this.before = counts;
    const { value, unit } = formatBytes(counts.up + counts.down);
    setText('total', `${value} ${unit}`);
    setText('since', counts.since === undefined ? '–' : formatDuration(this.clock.wallTime() - counts.since));
  }

  showAwake(awake: Awake): void {
    setText('awake', this.strings.awake[awake]);
    element('keep-awake').hidden = awake !== 'tap';
  }
}

export function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no element ${id}`);
  return found;
}

function setText(id: string, text: string): void {
  const node = element(id);
  if (node.textContent !== text) node.textContent = text;
}

/** `route.laptop` of the table. */
function textAt(strings: Strings, path = ''): string {
  let value: unknown = strings;
  for (const name of path.split('.')) value = (value as Readonly<Record<string, unknown>>)[name];
  return String(value);
}
