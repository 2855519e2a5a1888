/** The sessions that an exit serves: one for each link that reached it, found again by the name of their bearer. */
import { setTimeout as delay } from 'node:timers/promises';
import type { DhKeyPair } from '../crypto/x25519.ts';
import type { WireFaultName } from '../errors.ts';
import { DEFAULT_MUX_CONFIG, type MuxConfig } from '../mux/config.ts';
import type { Logger } from '../observability/logger.ts';
import type { MessageLink } from '../transport/message-link.ts';
import { acceptSecureLink, type RetiredResponder } from './handshake.ts';
import { SessionDriver } from './session-driver.ts';
import type { StreamAcceptor } from './stream.ts';

export interface ExitSessionsOptions {
  /** The exit's session keys. */
  readonly keys: DhKeyPair;
  /** The access entry of a session public key, as the list stands now. */
  readonly bearerOf: (sessionKey: Uint8Array) => string | undefined;
  /** How many sessions a bearer may have at once, as the list stands now. A lower limit ends none that lives. Without it, any number. */
  readonly maxSessionsOf?: (bearer: string) => number;
  /** Keys of before; their clients are told that theirs are void. */
  readonly retired?: readonly RetiredResponder[];
  /** True while no new session may begin. */
  readonly isOverloaded?: () => boolean;
  /** Other limits than the default ones. */
  readonly mux?: Partial<Omit<MuxConfig, 'role'>>;
  readonly acceptor: StreamAcceptor;
  readonly logger: Logger;
}

export class ExitSessions {
  private readonly sessions = new Map<SessionDriver, string>();
  /** In their handshake, each for 10 s at most. */
  private readonly arriving = new Set<MessageLink>();
  private readonly options: ExitSessionsOptions;
  private closing = false;

  constructor(options: ExitSessionsOptions) {
    this.options = options;
  }

  get count(): number {
    return this.sessions.size;
  }

  /**
   * Serves a link until it ends: first the handshake, then a session. `admitted` is whom the gate let in, where this exit has one;
   * then the keys of ticket and handshake must be the same bearer's.
   */
  serve(link: MessageLink, admitted?: string): void {
    if (this.closing) return link.abort();
    const { keys, bearerOf, retired = [], logger } = this.options;
    this.arriving.add(link);
    acceptSecureLink(
      link,
      {
        keys,
        allowUnsealed: admitted !== undefined,
        retired,
        bearerOf: (sessionKey) => {
          const bearer = bearerOf(sessionKey);
          return admitted === undefined || admitted === bearer ? bearer : undefined;
        },
      },
      {
        onSecured: (secured, bearer) => {
          this.arriving.delete(link);
          this.begin(secured, bearer);
        },
        onRetired: (secured, bearer) => {
          this.arriving.delete(link);
          this.begin(secured, bearer, 'keys-rotated');
        },
        onFailed: (error) => {
          this.arriving.delete(link);
          logger.info({ remote: link.remote, bearer: admitted, fault: error.fault }, 'no session');
        },
      },
    );
  }

  /** @param refusal all that the session is for */
  private begin(link: MessageLink, bearer: string, refusal = this.refusalOf(bearer)): void {
    const { acceptor, logger } = this.options;
    const since = performance.now();
    const session = new SessionDriver({
      mux: { ...DEFAULT_MUX_CONFIG, ...this.options.mux, role: 'exit' },
      link,
      logger,
      bearer,
      acceptor,
      onEnd: (fault) => {
        this.sessions.delete(session);
        const seconds = Math.round((performance.now() - since) / 1000);
        logger.info({ bearer, remote: link.remote, fault, seconds }, 'session ended');
      },
    });
    if (refusal !== undefined) return session.end(refusal);
    this.sessions.set(session, bearer);
    logger.info({ bearer, remote: link.remote }, 'session began');
  }

  /** The newest goes: ending an older one would let two clients with one invite throw each other out for ever. */
  private refusalOf(bearer: string): WireFaultName | undefined {
    const { maxSessionsOf, isOverloaded } = this.options;
    if (isOverloaded?.()) return 'overloaded';
    return maxSessionsOf !== undefined && this.countOf(bearer) >= maxSessionsOf(bearer)
      ? 'too-many-sessions'
      : undefined;
  }

  private countOf(bearer: string): number {
    let count = 0;
    for (const other of this.sessions.values()) if (other === bearer) count += 1;
    return count;
  }

  /** Ends every session whose bearer is not in `names` any more. */
  keepOnly(names: ReadonlySet<string>): void {
    this.endWhere((bearer) => !names.has(bearer), 'access-removed');
  }

  /** Takes no more links and streams, and ends all there are with the reason. */
  endAll(fault: WireFaultName): void {
    this.closing = true;
    for (const link of this.arriving) link.abort();
    this.endWhere(() => true, fault);
  }

  /** Takes no more links and streams; those streams that live have `graceMs` to end. */
  async close(graceMs: number): Promise<void> {
    this.closing = true;
    for (const link of this.arriving) link.abort();
    const drained = Promise.all([...this.sessions.keys()].map((session) => session.drain()));
    const limit = new AbortController();
    await Promise.race([drained, delay(graceMs, undefined, { signal: limit.signal }).catch(() => {})]);
    limit.abort();
    this.endWhere(() => true, 'shutting-down');
  }

  private endWhere(matches: (bearer: string) => boolean, fault: WireFaultName): void {
    for (const [session, bearer] of [...this.sessions]) if (matches(bearer)) session.end(fault);
  }
}
