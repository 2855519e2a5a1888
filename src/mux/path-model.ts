/** Placeholder until the pacing branch lands. */
export interface SentStamp {
  readonly at: number;
  readonly bytes: number;
}
export interface PathConfig {
  readonly x?: number;
}
export const DEFAULT_PATH_CONFIG: PathConfig = {};
export class PathModel {
  inFlightBytes = 0;
  roundTripMs: number | undefined;
  lowestRoundTripMs: number | undefined;
  rate: number | undefined;
  // biome-ignore lint/complexity/noUselessConstructor: placeholder
  constructor(_config: PathConfig, _now: number) {}
  handleSent(bytes: number, now: number): SentStamp {
    this.inFlightBytes += bytes;
    return { at: now, bytes };
  }
  handleAcked(bytes: number, newest: SentStamp, now: number): void {
    this.inFlightBytes -= bytes;
    this.roundTripMs = now - newest.at;
  }
  handleIdle(_now: number): void {}
  allowance(_now: number): number {
    return 4 * 1024 * 1024;
  }
  frameBytes(): number {
    return 48 * 1024;
  }
}
