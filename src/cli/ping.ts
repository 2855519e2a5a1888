/** `wstun ping`: round trips through a running client, one after the other, and what they add up to. */
import { type Control, statusIn } from '../app/control.ts';
import type { ClientStatus } from '../app/status.ts';
import { toldIfLong } from '../async/long-wait.ts';
import { systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { printLine, printText } from './output.ts';
import { asked, openRunning, type RunningOptions } from './running.ts';

interface PingCommand extends RunningOptions {
  readonly count: number;
  readonly json?: boolean;
  readonly target?: HostPort;
  /** Of the client's proxy. */
  readonly listen?: HostPort;
}

/** Between the beginnings of two. */
const SPACING_MS = 1_000;
/** More than the client itself waits. */
const LIMIT_MS = 35_000;

export async function ping(options: PingCommand): Promise<void> {
  const running = await openRunning(options);
  try {
    const { control, status } = await choose(running, options);
    const taken = await pingAll(control, status, options);
    const lost = options.count - taken.length;
    if (options.json !== true) printLine(summary(taken, options.count));
    if (taken.length === 0) throw new WstunError('ping-lost', `${lost} of ${options.count} are without an answer`);
  } finally {
    for (const control of running) control.close();
  }
}

/** The client that is meant. @throws WstunError not-running, bad-option where several are */
async function choose(
  running: readonly Control[],
  { listen }: PingCommand,
): Promise<{ readonly control: Control; readonly status: ClientStatus }> {
  const clients: { readonly control: Control; readonly status: ClientStatus }[] = [];
  for (const control of running.filter(({ place }) => place.role === 'client')) {
    const status = statusIn(await asked(control, control.ask({ request: 'status' })));
    const isMeant = listen === undefined || (status.role === 'client' && status.listen === formatHostPort(listen));
    if (status.role === 'client' && isMeant) clients.push({ control, status });
  }
  const [first, ...others] = clients;
  if (first === undefined)
    throw new WstunError('not-running', listen === undefined ? 'no client' : `no client at ${formatHostPort(listen)}`);
  if (others.length === 0) return first;
  const all = clients.map(({ status }) => status.listen).join(' and ');
  throw new WstunError('bad-option', `several clients run, at ${all}`, { fix: 'Choose one: --listen HOST:PORT.' });
}

async function pingAll(
  control: Control,
  { relay, exit, route }: ClientStatus,
  options: PingCommand,
): Promise<number[]> {
  const { count, json = false, target } = options;
  const where = target === undefined ? (exit === 'named' ? 'the exit' : 'the relay') : formatHostPort(target);
  const way =
    route === undefined ? '' : ` by ${route.carrier}${route.proxy === undefined ? '' : ` through ${route.proxy}`}`;
  if (!json)
    printText(`ping to ${where}, ${target === undefined && exit === 'relay' ? '' : 'by way of '}${relay}${way}`);
  const taken: number[] = [];
  for (let number = 1; number <= count; number++) {
    const pause = new Promise((resolve) => setTimeout(resolve, number < count ? SPACING_MS : 0));
    const outcome = await pingOnce(control, target, where);
    if (outcome instanceof WstunError) {
      const { code, message } = outcome;
      if (json) printLine(JSON.stringify({ number, code, message }));
      else printText(`${number}: ${textOf(outcome)}`);
    } else {
      taken.push(outcome);
      printLine(json ? JSON.stringify({ number, ms: outcome }) : `${number}: ${outcome} ms`);
    }
    await pause;
  }
  return taken;
}

/** What the client itself says has a code already. */
function textOf({ fault, detail, message }: WstunError): string {
  return fault === 'control-refused' ? detail : message;
}

async function pingOnce(control: Control, target: HostPort | undefined, where: string): Promise<number | WstunError> {
  try {
    const place = target && { target: formatHostPort(target) };
    const answer = control.ask({ request: 'ping', ...place }, LIMIT_MS);
    const { ms } = await toldIfLong(() => `an answer from ${where}`, answer, systemClock);
    if (typeof ms === 'number') return ms;
    return new WstunError('control-failed', 'its answer is not one of this version');
  } catch (error) {
    if (error instanceof WstunError) return error;
    throw error;
  }
}

function summary(taken: readonly number[], count: number): string {
  const answered = `${taken.length} of ${count} answered`;
  if (taken.length === 0) return answered;
  const average = taken.reduce((sum, ms) => sum + ms, 0) / taken.length;
  const [least, most] = [Math.min(...taken), Math.max(...taken)];
  return `${answered}; min ${least} ms, avg ${average.toFixed(1)} ms, max ${most} ms`;
}
