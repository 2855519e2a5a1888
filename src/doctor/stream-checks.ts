/** The checks of what an exit does for programs, on a session that is there. Pure. */
import type { Clock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort } from '../net/host-port.ts';
import { parseIp } from '../net/ip.ts';
import type { Check, CheckName } from './checks.ts';
import type { OpenSession, Target } from './probes.ts';
import type { Steps } from './step.ts';

/** For the exit's answer, ms: its resolver takes up to 5 s until it says that nobody answers. */
const OPEN_MS = 7_000;
/** How long is downloaded, ms, and how long until the first byte. */
const DOWNLOAD_MS = 2_000;
const ANSWER_MS = 2_500;
const IDLE_FIX = 'Something ends idle connections. wstun learns after how long, and keeps the next links busy.';
const RESOLVER_FIX =
  'The link works, and the exit resolves no names: its owner must check its name server (--dns), or its way to the internet.';
/** Fewer bytes say nothing of how many a second there would be: they are under way at once. */
const LEAST_BYTES = 64 * 1024;
const LEAST_LEFT_MS = 1_000;

export interface StreamChecksOptions {
  readonly session: OpenSession;
  readonly clock: Clock;
  readonly target: Target;
  readonly idleMs?: number | undefined;
  readonly steps: Steps;
  add(check: Check): void;
}

export interface StreamFindings {
  /** Why a program would not get through. */
  readonly fault: WstunError | undefined;
}

export async function examineStreams(options: StreamChecksOptions): Promise<StreamFindings> {
  const { idleMs } = options;
  const fault = await examineTarget(options);
  const idleFault = idleMs === undefined ? undefined : await examineIdle(options, idleMs);
  return { fault: fault ?? idleFault };
}

async function examineTarget(options: StreamChecksOptions): Promise<WstunError | undefined> {
  const { target, session, clock, steps } = options;
  const place = formatHostPort(target);
  const since = clock.now();
  if (steps.leftMs < LEAST_LEFT_MS) {
    options.add({ name: 'target', state: 'skipped', ms: 0, place, detail: 'no time was left for it' });
    return undefined;
  }
  const step = { name: 'target', limitMs: OPEN_MS, expired: () => new WstunError('dial-timed-out', place) } as const;
  const error = await steps.run(step, (signal) => session.open(target, signal)).catch(toError);
  const ms = clock.now() - since;
  const tell = (name: CheckName, state: Check['state'], detail: string, found?: WstunError): void =>
    options.add({ name, state, ms: name === 'target' ? ms : 0, place, detail, ...(found && { error: found }) });
  if (error === undefined) {
    tell('policy', 'ok', 'the exit allows it');
    if (isAddress(target)) tell('resolver', 'skipped', 'the target is an address');
    else tell('resolver', 'ok', 'the exit has resolved the name');
    tell('target', 'ok', 'a stream was opened');
    await examineThroughput(options);
    return undefined;
  }
  return tellFailedTarget(target, error, tell);
}

type Tell = (name: CheckName, state: Check['state'], detail: string, found?: WstunError) => void;

function tellFailedTarget(target: Target, error: WstunError, tell: Tell): WstunError | undefined {
  const skipped = 'what it needs does not work';
  if (error.fault === 'dial-not-allowed' && target.isUsual) {
    tell('policy', 'skipped', 'the exit does not allow this target; give one that you use: --target HOST:PORT');
    tell('resolver', 'skipped', 'nothing was resolved');
    tell('target', 'skipped', 'nothing was dialled');
    return undefined;
  }
  if (error.fault === 'dial-not-allowed' || error.fault === 'quota-used') {
    tell('policy', 'failed', error.what, error);
    tell('resolver', 'skipped', skipped);
    tell('target', 'skipped', skipped);
    return error;
  }
  // A name that everybody knows, and this resolver does not.
  const isResolvers = error.fault === 'dial-name-failed' || (error.fault === 'dial-name-unknown' && target.isUsual);
  if (isResolvers) {
    tell('policy', 'skipped', 'it is known when there is an address');
    const found = new WstunError(error.fault, error.detail, { fix: RESOLVER_FIX });
    tell('resolver', 'failed', error.what, found);
    tell('target', 'skipped', skipped);
    return found;
  }
  tell('policy', 'ok', 'the exit allows it');
  if (isAddress(target)) tell('resolver', 'skipped', 'the target is an address');
  else tell('resolver', 'ok', 'the exit has an answer for the name');
  tell('target', 'failed', error.what, error);
  return error;
}

async function examineThroughput({ target, session, steps, add }: StreamChecksOptions): Promise<void> {
  const place = formatHostPort(target);
  const skip = (detail: string): void => add({ name: 'throughput', state: 'skipped', ms: 0, place, detail });
  if (target.download === undefined) return skip('nothing can be downloaded from there; give --target URL');
  if (steps.leftMs < LEAST_LEFT_MS) return skip('no time was left for it');
  const forMs = Math.min(DOWNLOAD_MS, steps.leftMs - LEAST_LEFT_MS / 2);
  const step = { name: 'throughput', limitMs: forMs + ANSWER_MS } as const;
  const found = await steps.run(step, (signal) => session.download(target, forMs, signal)).catch(toError);
  if (found instanceof WstunError) return skip(`the download failed: ${found.what}`);
  const { bytes, ms } = found;
  if (bytes < LEAST_BYTES)
    return skip(`only ${bytes} bytes came, which is too little to tell; give the URL of a large file: --target URL`);
  const rate = bytes / (Math.max(1, ms) / 1000);
  add({ name: 'throughput', state: 'ok', ms, place, detail: `${amount(rate)}/s down (${amount(bytes)})` });
}

async function examineIdle(options: StreamChecksOptions, idleMs: number): Promise<WstunError | undefined> {
  const { session, steps, clock, add } = options;
  const since = clock.now();
  steps.extend(idleMs + LEAST_LEFT_MS);
  const step = { name: 'idle', limitMs: idleMs + LEAST_LEFT_MS } as const;
  const found = await steps.run(step, (signal) => session.idle(idleMs, signal)).catch(toError);
  const ms = clock.now() - since;
  if (!(found instanceof WstunError) && found.lostAfterMs === undefined) {
    const detail = `the link has lasted ${Math.round(idleMs / 1000)} s with nothing but wstun’s pings, one each 14 s`;
    add({ name: 'idle', state: 'ok', ms, place: '', detail });
    return undefined;
  }
  const lost = found instanceof WstunError ? ms : (found.lostAfterMs ?? ms);
  const error = new WstunError('link-lost', `idle, after ${(lost / 1000).toFixed(1)} s`, { fix: IDLE_FIX });
  add({ name: 'idle', state: 'failed', ms, place: '', detail: error.what, error });
  return error;
}

function isAddress({ host }: Target): boolean {
  return parseIp(host) !== undefined;
}

/** In powers of 1,000, as networks are measured. */
function amount(bytes: number): string {
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(1)} MB`;
  return `${Math.round(bytes / 1e3)} kB`;
}

function toError(cause: unknown): WstunError {
  const error = cause instanceof WstunError ? cause : new WstunError('internal', String(cause));
  if (error.fault === 'dial-cancelled') throw error;
  return error;
}
