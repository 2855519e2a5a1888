/** The streams of one program's connection, at most one of them idle. Programs never share one (RFC 4559). */
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
  /** It has been used before: the target may be closing it just now. */
  isReused: boolean;
  /** Content of a request was sent on it, some of which the target may not have read yet. */
  hasContent: boolean;
  /** The target authenticates the connection: a request on another one would not be authenticated. */
  isAuthenticated: boolean;
}

export class HttpTargets {
  /** Those that are no longer used, and not closed yet. */
  private readonly ending = new Set<TunnelStream>();
  private idle: TargetConnection | undefined;
  private whenEnded: (() => void) | undefined;

  constructor(
    private readonly open: (target: Target) => Promise<TunnelStream>,
    private readonly context: Pick<ProxyContext, 'streams' | 'limits'>,
  ) {}

  /**
   * A connection to the target: the idle one if it may be used; otherwise the idle one is discarded. Rejects with a
   * WstunError. `maySendTwice`: a connection that turns out to be closed does no harm. All other requests need a new
   * one, as the target may close an idle one at any moment (RFC 9112 §9.3.1), unless it has authenticated that one.
   */
  async take(target: Target, maySendTwice: boolean): Promise<TargetConnection> {
    const idle = this.idle;
    this.idle = undefined;
    if (idle !== undefined) {
      idle.source.stop();
      const mayUse = maySendTwice || idle.isAuthenticated;
      if (mayUse && isSame(idle.stream.target, target) && isUsable(idle)) {
        idle.isReused = true;
        return idle;
      }
      this.discard(idle);
    }
    const stream = await this.open(target);
    this.context.streams.add(stream);
    stream.once('close', () => this.context.streams.delete(stream));
    const source = new ByteSource(stream);
    return { stream, source, isReused: false, hasContent: false, isAuthenticated: false };
  }

  /** Kept for the next request. If the target sends or ends anything unasked, it is discarded. */
  keepIdle(connection: TargetConnection): void {
    if (!isUsable(connection)) return this.discard(connection);
    this.idle = connection;
    const forget = (): undefined => {
      if (this.idle === connection) this.idle = undefined;
      this.discard(connection);
    };
    connection.source.read({ receive: forget, end: forget });
  }

  /**
   * Its exchanges are complete. If a request had content, the target has as long as it takes to read that, and then
   * some time to end its own side. What it has not read when it is finally reset still arrives before the reset.
   */
  discard({ stream, source, hasContent }: TargetConnection): void {
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

  /** The exchange on it is incomplete: a reset follows what was sent, as the program's own reset would. */
  reset({ stream, source }: TargetConnection): void {
    source.release();
    if (stream.destroyed) return;
    if (stream.writableLength === 0) return resetStream(stream);
    this.keepUntilClosed(stream);
    stream.write(NOTHING, () => resetStream(stream));
    const limit = setTimeout(() => stream.destroy(), this.context.limits.resetWaitMs);
    stream.once('close', () => clearTimeout(limit));
  }

  /** Discards the idle one. Resolves when none is left. */
  async close(): Promise<void> {
    if (this.idle !== undefined) {
      this.idle.source.stop();
      this.discard(this.idle);
      this.idle = undefined;
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

/** After what it has taken: see TunnelStream. */
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
