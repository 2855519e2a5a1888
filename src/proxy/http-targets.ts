/**
 * The streams of one connection of a program to its targets, of which at most one rests between requests. No two
 * programs ever share a connection to a target, which matters where a target authenticates connections (RFC 4559), and
 * all of it goes with the program.
 */
import { WstunError } from '../errors.ts';
import { sameIp } from '../net/ip.ts';
import { HALF_CLOSED_IDLE_MS } from '../tunnel/stream/socket-pipe.ts';
import type { Target, TunnelStream } from '../tunnel/stream/stream.ts';
import { ByteSource } from './byte-source.ts';
import type { ProxyContext } from './program-connection.ts';

const NOTHING = Buffer.alloc(0);

export interface TargetConnection {
  readonly stream: TunnelStream;
  readonly source: ByteSource;
  /** It has carried an exchange before: the target may be closing it just now. */
  isReused: boolean;
  /** It has carried content of a request, some of which the target may not have read yet. */
  hasContent: boolean;
  /** The target authenticates it as a whole: a request on another one would be somebody else's. */
  isAuthenticated: boolean;
}

export class HttpTargets {
  private readonly open: (target: Target) => Promise<TunnelStream>;
  private readonly context: Pick<ProxyContext, 'streams' | 'limits'>;
  /** Those of this program that have done their part, and are not closed. */
  private readonly ending = new Set<TunnelStream>();
  private resting: TargetConnection | undefined;
  private whenEnded: (() => void) | undefined;

  constructor(open: (target: Target) => Promise<TunnelStream>, context: Pick<ProxyContext, 'streams' | 'limits'>) {
    this.open = open;
    this.context = context;
  }

  /**
   * A connection to the target, the one that rests if it may be used; lets go of that otherwise. Rejects with a
   * WstunError. `maySendTwice`: a connection that turns out to be closed does no harm. All else goes on one that is
   * new, as the target may close a resting one at any moment (RFC 9112 §9.3.1), unless it has authenticated that one.
   */
  async take(target: Target, maySendTwice: boolean): Promise<TargetConnection> {
    const resting = this.resting;
    this.resting = undefined;
    if (resting !== undefined) {
      resting.source.stop();
      const mayUse = maySendTwice || resting.isAuthenticated;
      if (mayUse && isSame(resting.stream.target, target) && isUsable(resting)) {
        resting.isReused = true;
        return resting;
      }
      this.letGo(resting);
    }
    const stream = await this.open(target);
    this.context.streams.add(stream);
    stream.once('close', () => this.context.streams.delete(stream));
    const source = new ByteSource(stream);
    return { stream, source, isReused: false, hasContent: false, isAuthenticated: false };
  }

  /** For the next request. Whatever the target sends or ends unasked makes it useless. */
  rest(connection: TargetConnection): void {
    if (!isUsable(connection)) return this.letGo(connection);
    this.resting = connection;
    const forget = (): undefined => {
      if (this.resting === connection) this.resting = undefined;
      this.letGo(connection);
    };
    connection.source.read({ receive: forget, end: forget });
  }

  /**
   * Its exchanges are whole. Where a request had content the target has the time that it takes to read that, and then
   * some to end its own side. What it has not read when it is reset at last still arrives before the reset.
   */
  letGo({ stream, source, hasContent }: TargetConnection): void {
    if (!hasContent || stream.destroyed) return void stream.destroy();
    source.release();
    this.keepUntilClosed(stream);
    let left = stream.writableLength;
    const look = (): void => {
      if (stream.writableLength === left) return resetStream(stream);
      left = stream.writableLength;
      limit.refresh();
    };
    let limit = setTimeout(look, HALF_CLOSED_IDLE_MS);
    stream.once('finish', () => {
      clearTimeout(limit);
      limit = setTimeout(() => resetStream(stream), this.context.limits.lingerMs);
    });
    stream.once('close', () => clearTimeout(limit));
    stream.resume().end();
  }

  /** The exchange on it is not whole: a reset, behind what the target was sent, as the program's own would be. */
  reset({ stream, source }: TargetConnection): void {
    source.release();
    if (stream.destroyed) return;
    if (stream.writableLength === 0) return resetStream(stream);
    this.keepUntilClosed(stream);
    stream.write(NOTHING, () => resetStream(stream));
    const limit = setTimeout(() => stream.destroy(), this.context.limits.resetWaitMs);
    stream.once('close', () => clearTimeout(limit));
  }

  /** Lets go of the one that rests. Resolves when none is left. */
  async close(): Promise<void> {
    if (this.resting !== undefined) {
      this.resting.source.stop();
      this.letGo(this.resting);
      this.resting = undefined;
    }
    if (this.ending.size === 0) return;
    await new Promise<void>((resolve) => {
      this.whenEnded = resolve;
    });
  }

  private keepUntilClosed(stream: TunnelStream): void {
    this.ending.add(stream);
    stream.once('close', () => {
      this.ending.delete(stream);
      if (this.ending.size === 0) this.whenEnded?.();
    });
  }
}

/** Behind what it has taken: see TunnelStream. */
function resetStream(stream: TunnelStream): void {
  stream.destroy(new WstunError('target-reset', 'by the program'));
}

function isSame(a: Target, b: Target): boolean {
  if (a.port !== b.port) return false;
  return a.kind === 'ip' ? b.kind === 'ip' && sameIp(a.ip, b.ip) : b.kind === 'name' && a.name === b.name;
}

function isUsable({ stream, source }: TargetConnection): boolean {
  return !stream.destroyed && !source.hasEnded && !source.hasBytes && stream.writable;
}
