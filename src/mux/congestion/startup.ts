/** Start-up (draft-ietf-ccwg-bbr): the window grows with the delivery rate until the path is full. Pure. */

/** The window is this much more than has been seen to arrive, so that the rate more than doubles each round. */
const GAIN = 2.5;

/** The path is full when so many rounds, or one with a queue, have not delivered this much more. */
const FULL_ROUNDS = 3;
const FULL_GROWTH = 1.25;

export class Startup {
  isActive = true;
  private fullRate = 0;
  private fullRounds = 0;

  /** With a queue, only so much more as the next round needs to show growth. */
  gain(hasQueue: boolean): number {
    return hasQueue ? FULL_GROWTH : GAIN;
  }

  /** True: the path is full, and start-up over. */
  onRound(bytesPerMs: number, hasQueue: boolean): boolean {
    if (bytesPerMs >= FULL_GROWTH * this.fullRate) {
      this.fullRate = bytesPerMs;
      this.fullRounds = 0;
      return false;
    }
    this.fullRounds += hasQueue ? FULL_ROUNDS : 1;
    this.isActive = this.fullRounds < FULL_ROUNDS;
    return !this.isActive;
  }

  restart(): void {
    this.isActive = true;
    this.fullRate = 0;
    this.fullRounds = 0;
  }
}
