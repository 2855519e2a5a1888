/**
 * An exit behind a relay, in memory and in virtual time, as the dialer of one client: links can be cut, and dials can
 * be made to fail. The exit echoes.
 */
import { sleep } from '../../../src/async/abortable.ts';
import { createIdentity } from '../../../src/crypto/keys.ts';
import { importKeyPair } from '../../../src/crypto/x25519.ts';
import type { WstunError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { SessionRequest } from '../../../src/protocol/session-request.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { initiateSecureLink } from '../../../src/tunnel/dial/handshake.ts';
import type { SessionDialer, SessionLink } from '../../../src/tunnel/dial/session-dialer.ts';
import { negotiateSession } from '../../../src/tunnel/dial/session-dialer.ts';
import { ExitSessions } from '../../../src/tunnel/session/exit-sessions.ts';
import type { OfferedStream, StreamAcceptor } from '../../../src/tunnel/stream/stream.ts';
import { never } from '../never.ts';
import { VirtualClock } from '../time/virtual-clock.ts';
import { ECHO } from './echoing.ts';
import { memoryLinkPair } from './memory-link.ts';

/** Echoes every stream; refuses port 1. */
const echo: StreamAcceptor = {
  handleOffer(offer: OfferedStream) {
    if (offer.target.port === 1) {
      offer.refuse('dial-refused');
      offer.release();
      return;
    }
    ECHO.handleOffer(offer);
  },
};

/** A relay and its exit, for one client, whose links can be cut, and that can refuse to be dialled. */
export class MemoryRelay implements SessionDialer {
  readonly clock: VirtualClock;
  readonly exitIdentity = createIdentity();
  readonly peer = createIdentity();
  /** Lines of the exit's log, but those for debugging. */
  readonly lines: { readonly message: string; readonly unsaid?: number }[] = [];
  exit: ExitSessions;
  readonly faults: WstunError[] = [];
  dials = 0;
  /** When each of them began, ms. */
  readonly dialledAt: number[] = [];
  /** Every session ends as soon as it stands. */
  endAtOnce = false;
  delayMs = 0;
  link: MessageLink | undefined;
  /** All that were dialled. */
  readonly links: MessageLink[] = [];

  constructor(clock = new VirtualClock()) {
    this.clock = clock;
    this.exit = this.newExit();
  }

  newExit(): ExitSessions {
    return new ExitSessions({
      keys: importKeyPair(this.exitIdentity.exposeSessionKey()),
      peerOf: (key) => (Buffer.from(key).equals(this.peer.public.session) ? 'alice' : undefined),
      acceptor: echo,
      logger: { ...silentLogger, info: (fields, message) => void this.lines.push({ ...fields, message }) },
      clock: this.clock,
    });
  }

  async dial(request: () => SessionRequest): Promise<SessionLink> {
    this.dials += 1;
    this.dialledAt.push(this.clock.now());
    const fault = this.faults.shift();
    if (fault) throw fault;
    const { clock } = this;
    const [near, far] = memoryLinkPair();
    this.link = near;
    this.links.push(near);
    this.exit.serve(far, 'alice');
    const keys = importKeyPair(this.peer.exposeSessionKey());
    const exitKey = this.exitIdentity.public.session;
    if (this.delayMs > 0) await sleep(this.clock, this.delayMs);
    const link = await initiateSecureLink(near, { keys, exitKey, suite: 'AESGCM', encryption: 'on', clock }, never);
    const session = await negotiateSession(link, request(), never, { clock });
    const { exit } = this;
    if (this.endAtOnce) {
      this.exit = this.newExit();
      setImmediate(() => exit.endAll('internal'));
    }
    return session;
  }
}
