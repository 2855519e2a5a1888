/**
 * Which stream sends next, and how many bytes: deficit round robin with a queue of quiet streams that goes first, after
 * FQ-CoDel (RFC 8290 §4.1, §4.2). Pure; the caller writes the bytes.
 *
 * Every stream has one quantum a round. Bulk uses it in one turn; a quiet stream uses it in parts, and each goes before
 * all bulk. RFC 8290 lets a flow go first only once a round: a keystroke beside 32 downloads would wait for all of them
 * whenever the previous one was in the same round. A bulk stream gains nothing by small parts: when its quantum is
 * used, it waits like all bulk.
 */
/** Of a quantum: with less left the turn ends, and it adds to the next. Else a tiny frame would follow each cut one. */
export const LEAST_TURN = 1 / 4;

/**
 * Quanta that quiet streams may send in a row while bulk waits: so bulk is never starved, however many streams are
 * opened. With fewer, one of a dozen quiet streams that woke together would wait for two turns of the same bulk stream.
 */
const QUIET_RUN = 16;

/** No round has this number, so a stream in it gets a new quantum. */
const NO_ROUND = 0;

/** What takes turns: a stream, or the datagrams of an association. */
interface Sender {
  readonly sendable: boolean;
  /** The scheduler holds it: at most once. */
  scheduled: boolean;
  /** What is left of its quantum, bytes, and in which round it got that. */
  deficit: number;
  round: number;
}

export class Scheduler<Stream extends Sender> {
  private readonly quiet: Stream[] = [];
  private readonly bulk: Stream[] = [];
  /** Counts how often all of `bulk` had their turn. A new stream is in no round, so it has its quantum. */
  private round = 1;
  /** Turns of bulk until the round is over. */
  private turnsLeft = 0;
  /** Turns of bulk that something else has taken, since streams were last made quiet for that. */
  private turnsPassed = 0;
  /** Bytes of quiet streams since the last turn of bulk. */
  private quietRun = 0;
  private quietTurn = false;
  private quantum = 1;

  /** The stream may have something to send now. Idempotent. */
  add(stream: Stream): void {
    if (stream.scheduled || !stream.sendable) return;
    stream.scheduled = true;
    const isQuiet = stream.round !== this.round || this.hasTurn(stream);
    (isQuiet ? this.quiet : this.bulk).push(stream);
  }

  /**
   * Removes and returns the stream whose turn it is; `endTurn` or `putBack` must follow. `quantum` is what a stream has
   * each round, bytes, at least 1: the largest DATA frame. It may change from call to call, as the path does.
   */
  next(quantum: number): Stream | undefined {
    // Again, for quiet streams that had to wait for bulk, if none of the bulk is left.
    return this.nextQuiet(quantum) ?? this.nextBulk() ?? this.nextQuiet(quantum);
  }

  /** As `next`, without bulk. */
  nextQuiet(quantum: number): Stream | undefined {
    this.quantum = quantum;
    if (this.bulk.length > 0 && this.quietRun >= QUIET_RUN * quantum) return undefined;
    const stream = takeSendable(this.quiet);
    if (!stream) return undefined;
    if (stream.round !== this.round) this.grant(stream, 0);
    this.quietTurn = true;
    return stream;
  }

  /** Whether the stream that was returned last is a quiet one. */
  get isQuietTurn(): boolean {
    return this.quietTurn;
  }

  private nextBulk(): Stream | undefined {
    const stream = takeSendable(this.bulk);
    this.quietTurn = false;
    if (!stream || this.hasTurn(stream)) return stream;
    if (this.turnsLeft <= 0) {
      this.round += 1;
      this.turnsLeft = this.bulk.length + 1;
    }
    this.turnsLeft -= 1;
    this.grant(stream, stream.deficit);
    return stream;
  }

  /**
   * Something else has taken a turn of bulk: what is sent again. A quiet stream that has used its quantum would wait
   * until all of that has gone; so it is quiet again after as many turns as there is bulk. @param hasLittle to send
   */
  passTurn(hasLittle: (stream: Stream) => boolean): void {
    this.quietRun = 0;
    this.turnsPassed += 1;
    if (this.turnsPassed < this.bulk.length) return;
    this.turnsPassed = 0;
    for (const stream of this.bulk.splice(0)) {
      if (!hasLittle(stream)) this.bulk.push(stream);
      else {
        stream.round = NO_ROUND;
        this.quiet.push(stream);
      }
    }
  }

  /** The most that the stream whose turn it is may send now, bytes, at least 1. */
  turnBytes(stream: Stream): number {
    return Math.max(1, Math.min(this.quantum, Math.floor(stream.deficit)));
  }

  /**
   * The stream has sent so many bytes. If it has more, bulk continues its turn, which keeps the shares equal in bytes
   * where records cut frames short. A quiet stream lets the others go first, so that none waits for two frames of
   * another.
   */
  endTurn(stream: Stream, bytes: number): void {
    stream.deficit -= bytes;
    this.quietRun = this.quietTurn ? this.quietRun + bytes : 0;
    stream.scheduled = stream.sendable;
    if (!stream.scheduled) return;
    if (!this.hasTurn(stream)) this.bulk.push(stream);
    else if (this.quietTurn) this.quiet.push(stream);
    else this.bulk.unshift(stream);
  }

  /** Instead of `endTurn`: the stream does not use its turn now, and has it next. */
  putBack(stream: Stream): void {
    (this.quietTurn ? this.quiet : this.bulk).unshift(stream);
  }

  /** Enough is left of its quantum for a frame that is not tiny. */
  private hasTurn(stream: Stream): boolean {
    return stream.deficit >= LEAST_TURN * this.quantum;
  }

  private grant(stream: Stream, left: number): void {
    stream.round = this.round;
    stream.deficit = left + this.quantum;
  }

  /** A quiet stream waits: `nextQuiet` returns it unless quiet streams have used up their run. */
  get hasQuiet(): boolean {
    return this.quiet.length > 0;
  }

  get hasBulk(): boolean {
    return this.bulk.length > 0;
  }

  /** How often all bulk had its turn. */
  get rounds(): number {
    return this.round;
  }

  /** Those that wait. */
  get size(): number {
    return this.quiet.length + this.bulk.length;
  }

  get isEmpty(): boolean {
    return this.quiet.length === 0 && this.bulk.length === 0;
  }

  clear(): void {
    this.quiet.length = 0;
    this.bulk.length = 0;
  }
}

/** Drops streams that have nothing to send any more or are closed. */
function takeSendable<Stream extends Sender>(queue: Stream[]): Stream | undefined {
  for (let stream = queue.shift(); stream; stream = queue.shift()) {
    if (stream.sendable) return stream;
    stream.scheduled = false;
  }
  return undefined;
}
