/** Redraws the lines at the bottom of a terminal: only if they changed, and at most four times a second. */
import { isInForeground } from './foreground.ts';
import { Painter, type Terminal } from './painter.ts';

/** Between two drawings at least, ms. */
const REDRAW_MS = 250;
/** Seconds are counted on them. */
const TICK_MS = 1000;
/** A serial line has a width of 0: nobody has said it. */
const USUAL_COLUMNS = 80;

/** What the lines are now, each narrower than `columns`. */
export type LiveSource = (now: number, columns: number) => readonly string[];

export class LiveLines {
  private readonly painter: Painter;
  private source: LiveSource | undefined;
  private ticks: NodeJS.Timeout | undefined;
  private pending: NodeJS.Timeout | undefined;
  private drawnAt = Number.NEGATIVE_INFINITY;
  /** The terminal may have wrapped or cut what it shows, even where the same is to be shown. */
  private readonly onResize = () => this.redraw();
  private readonly onStop = () => this.suspend();
  private readonly onContinue = () => this.draw();

  constructor(private readonly terminal: Terminal & NodeJS.EventEmitter) {
    this.painter = new Painter(terminal);
  }

  follow(source: LiveSource): void {
    this.source = source;
    if (this.ticks === undefined) this.begin();
    this.draw();
  }

  /** Something has changed. */
  refresh(): void {
    if (this.source === undefined || this.pending !== undefined) return;
    const waitMs = Math.max(0, this.drawnAt + REDRAW_MS - performance.now());
    this.pending = setTimeout(() => this.draw(), waitMs);
    this.pending.unref();
  }

  print(text: string): void {
    this.painter.print(text);
  }

  /** The terminal has echoed Enter. */
  handleEnter(): void {
    this.painter.handleEnter();
    // Whatever was typed before it stands there too.
    this.redraw();
  }

  /** Nothing of them is left. */
  stop(): void {
    this.source = undefined;
    clearInterval(this.ticks);
    clearTimeout(this.pending);
    this.ticks = undefined;
    this.terminal.off('resize', this.onResize);
    process.off('SIGTSTP', this.onStop).off('SIGCONT', this.onContinue);
    this.painter.show([]);
  }

  private begin(): void {
    this.ticks = setInterval(() => this.draw(), TICK_MS);
    this.ticks.unref();
    this.terminal.on('resize', this.onResize);
    process.on('SIGTSTP', this.onStop).on('SIGCONT', this.onContinue);
  }

  private draw(): void {
    clearTimeout(this.pending);
    this.pending = undefined;
    this.drawnAt = performance.now();
    if (!isInForeground()) return this.painter.forget();
    this.painter.show(this.lines());
  }

  private redraw(): void {
    if (isInForeground()) this.painter.redraw(this.lines());
  }

  private lines(): readonly string[] {
    return this.source?.(Date.now(), this.terminal.columns || USUAL_COLUMNS) ?? [];
  }

  /** Ctrl-Z: the shell writes there now. Whoever listens for SIGTSTP must stop the process itself. */
  private suspend(): void {
    this.painter.show([]);
    process.kill(process.pid, 'SIGSTOP');
  }
}
