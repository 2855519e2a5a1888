/**
 * Px and cntlm: programs that answer a company's proxy in the place of others, at 127.0.0.1:3128. Where nothing else
 * leads out, whether such a proxy reaches the relay is tried once, so that a message can name it.
 */
import { connect } from 'node:net';
import { AbortableWait } from '../../async/abortable.ts';
import { type Clock, systemClock } from '../../clock.ts';
import { type FaultName, WstunError } from '../../errors.ts';
import { formatHostPort, type HostPort } from '../../net/host-port.ts';
import { askForTunnel } from './connect-exchange.ts';

/** Where both listen if nothing else is set. */
export const LOCAL_PROXY: HostPort = { host: '127.0.0.1', port: 3128 };
/** For the whole look, ms; a port that nobody listens on is known at once. */
const LOOK_LIMIT_MS = 3_000;
/** A look counts for so long, ms. */
const LOOK_AGAIN_MS = 60_000;

/** Of the direct way, and of a proxy that asks for what we cannot answer. */
const HELPED: ReadonlySet<FaultName> = new Set(['relay-unreachable', 'proxy-credentials-needed', 'proxy-unreachable']);

export class LocalProxy {
  private lookedAt = Number.NEGATIVE_INFINITY;
  private found: Promise<boolean> | undefined;

  /** @param place for tests */
  constructor(
    private readonly clock: Clock,
    private readonly place = LOCAL_PROXY,
  ) {}

  /** The same fault, and what would help if that is known. @param relay host and port. @param signal ends the wait */
  async advise(error: unknown, relay: HostPort, signal: AbortSignal): Promise<unknown> {
    if (!(error instanceof WstunError) || !HELPED.has(error.fault)) return error;
    const own = formatHostPort(this.place);
    // The proxy that failed is that one.
    if (error.detail.includes(`//${own}`)) return error;
    const now = this.clock.now();
    if (this.found === undefined || now - this.lookedAt >= LOOK_AGAIN_MS) {
      this.lookedAt = now;
      this.found = this.reaches(relay);
    }
    if (!(await untilAborted(this.found, signal))) return error;
    const fix = `A proxy on this machine (px or cntlm, perhaps) reaches the relay: add --proxy http://${own}.`;
    return new WstunError(error.fault, error.detail, { fix, cause: error });
  }

  private async reaches(relay: HostPort): Promise<boolean> {
    const limit = new AbortController();
    const timer = this.clock.setTimeout(() => limit.abort(), LOOK_LIMIT_MS);
    const socket = connect({ ...this.place, signal: limit.signal }).on('error', () => {});
    try {
      const options = { clock: this.clock, signal: limit.signal, proxy: 'local' };
      const result = await askForTunnel(socket, { authority: formatHostPort(relay) }, options);
      return 'answer' in result && result.answer.status < 300;
    } catch {
      return false;
    } finally {
      this.clock.clearTimeout(timer);
      socket.destroy();
    }
  }
}

async function untilAborted(found: Promise<boolean>, signal: AbortSignal): Promise<boolean> {
  const wait = new AbortableWait<boolean>({ clock: systemClock, signal, onAbort: (aborted) => aborted.resolve(false) });
  void found.then((value) => wait.resolve(value));
  return await wait.promise;
}
