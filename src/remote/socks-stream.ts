/**
 * A connection from the exit that asks this machine as a SOCKS proxy where to go: SOCKS5 and SOCKS4(a), CONNECT alone.
 * Reads the negotiation from the stream, and says what comes after it.
 */
import { AbortableWait } from '../async/abortable.ts';
import type { Clock } from '../clock.ts';
import { type FaultName, WstunError } from '../errors.ts';
import { release } from '../memory/pieces.ts';
import type { HostPort } from '../net/host-port.ts';
import { formatIp } from '../net/ip.ts';
import type { SocksNegotiation, SocksStep } from '../proxy/socks-negotiation.ts';
import { Socks4Negotiation } from '../proxy/socks4.ts';
import { Socks5Negotiation } from '../proxy/socks5.ts';
import type { Target, TunnelStream } from '../tunnel/stream/stream.ts';

/** From the connection to a whole request, ms: programs send it at once. */
const NEGOTIATION_MS = 10_000;
const [SOCKS4, SOCKS5] = [4, 5];

export interface SocksRequest {
  readonly to: HostPort;
  /** The replies to send to it. */
  readonly granted: Uint8Array;
  failed(fault: FaultName): Uint8Array;
}

/**
 * Leaves the stream paused, with what followed the request unread.
 * Rejects with a WstunError: proxy-malformed and the like, when the program has been told as far as SOCKS allows.
 */
export async function readSocksRequest(stream: TunnelStream, clock: Clock): Promise<SocksRequest> {
  const wait = new AbortableWait<SocksRequest>({
    ...{ clock, limitMs: NEGOTIATION_MS },
    onExpired: (expired) => expired.reject(new WstunError('proxy-timed-out')),
    onSettled: () => void stream.off('data', handleData).off('end', giveUp).off('close', giveUp).pause(),
  });
  let negotiation: SocksNegotiation | undefined;
  const handleData = (bytes: Buffer): void => {
    negotiation ??= negotiationOf(bytes[0] ?? 0);
    if (negotiation === undefined) return wait.reject(new WstunError('proxy-malformed'));
    // It copies what it keeps.
    const step = negotiation.receive(bytes);
    const outcome = outcomeOf(step, negotiation, stream);
    release(bytes);
    if (outcome instanceof WstunError) wait.reject(outcome);
    else if (outcome !== undefined) wait.resolve(outcome);
  };
  const giveUp = (): void => wait.reject(new WstunError('proxy-malformed'));
  stream.on('data', handleData).on('end', giveUp).on('close', giveUp);
  return await wait.promise;
}

function negotiationOf(first: number): SocksNegotiation | undefined {
  if (first === SOCKS5) return new Socks5Negotiation(undefined);
  return first === SOCKS4 ? new Socks4Negotiation(false) : undefined;
}

function outcomeOf(
  step: SocksStep,
  negotiation: SocksNegotiation,
  stream: TunnelStream,
): SocksRequest | WstunError | undefined {
  if (step.reply.length > 0) stream.write(Buffer.from(step.reply));
  if (step.kind === 'more') return undefined;
  if (step.kind === 'refused') return new WstunError(step.fault);
  if (step.command !== 'connect') {
    stream.write(Buffer.from(negotiation.failed('proxy-command')));
    return new WstunError('proxy-command');
  }
  if (step.rest.length > 0) stream.unshift(Buffer.from(step.rest));
  return {
    to: { host: hostOf(step.target), port: step.target.port },
    granted: negotiation.granted,
    failed: (fault) => negotiation.failed(fault),
  };
}

function hostOf(target: Target): string {
  return target.kind === 'ip' ? formatIp(target.ip) : target.name;
}
