/** Writes state and counts into the document. Decides nothing. */
import type { Awake } from './awake.ts';
import { formatBytes, formatSince, formatSpeed } from './format.ts';
import type { PageClock } from './page-clock.ts';
import type { STRINGS, State, Strings } from './strings.ts';
import type { Counts } from './tether.ts';
import { flowOf, Throughput } from './throughput.ts';

type Line = keyof typeof STRINGS.routeLabel;

/** Laptop to phone, phone to relay, and the mood. Bad: something does not work, and nobody on the phone can help. */
const LOOKS: Readonly<Record<State, readonly [local: Line, upstream: Line, mood: 'good' | 'wait' | 'bad']>> = {
  joining: ['busy', 'idle', 'wait'],
  idle: ['on', 'idle', 'good'],
  direct: ['on', 'idle', 'good'],
  standby: ['on', 'idle', 'good'],
  opening: ['on', 'busy', 'wait'],
  active: ['on', 'on', 'good'],
  offline: ['on', 'broken', 'wait'],
  refused: ['on', 'broken', 'bad'],
  gone: ['broken', 'idle', 'bad'],
  expired: ['broken', 'idle', 'wait'],
  bare: ['idle', 'idle', 'wait'],
  replaced: ['idle', 'idle', 'wait'],
};

/** Numbers that change more often cannot be read. A timer may be a little early. */
const NUMBERS_MS = 990;

export class View {
  private readonly throughput = new Throughput();
  private numbersAt = Number.NEGATIVE_INFINITY;

  /** @param host of the laptop, as the page was opened */
  constructor(
    private readonly clock: PageClock,
    private readonly strings: Strings,
    host: string,
  ) {
    for (const node of document.querySelectorAll<HTMLElement>('[data-text]'))
      node.textContent = textAt(strings, node.dataset.text);
    if (strings.laptopAt !== '') setText('host', `${strings.laptopAt} ${host}`);
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

  /** Called some times a second: the line moves each time, the numbers change once a second. */
  showCounts(counts: Counts): void {
    const now = this.clock.now();
    this.throughput.note(now, counts);
    if (document.body.dataset.state === 'active') this.drawLine();
    if (now - this.numbersAt < NUMBERS_MS) return;
    this.numbersAt = now;
    const [up, down] = [this.throughput.rate('up'), this.throughput.rate('down')];
    for (const [way, rate] of [['up', up] as const, ['down', down] as const]) {
      const { value, unit } = formatSpeed(rate);
      setText(`${way}-speed`, value);
      setText(`${way}-unit`, unit);
    }
    this.showFlow(up, down);
    const { value, unit } = formatBytes(counts.up + counts.down);
    setText('used', `${value} ${unit}`);
    setText('since', formatSince(counts.since, this.clock.wallTime()));
  }

  showAwake(awake: Awake): void {
    document.body.dataset.awake = awake;
    setText('awake', this.strings.awake[awake]);
    element('keep-awake').hidden = awake !== 'tap';
  }

  private drawLine(): void {
    const points = this.throughput.line().map(({ x, y }) => `${(x * 100).toFixed(1)} ${(96 - y * 90).toFixed(1)}`);
    const line = points.length > 1 ? `M${points.join('L')}` : '';
    element('curve').setAttribute('d', line);
    element('area').setAttribute('d', line && `${line}V100H${points[0]?.split(' ')[0]}Z`);
  }

  /** The style has the movement, none where a person wants none. Its speed is changed here, without a jump. */
  private showFlow(up: number, down: number): void {
    const flow = flowOf(up, down);
    document.body.dataset.flow = flow?.way ?? 'none';
    if (flow === undefined) return;
    for (const dashes of document.querySelectorAll('.line i'))
      for (const animation of dashes.getAnimations()) animation.updatePlaybackRate(flow.speed);
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
