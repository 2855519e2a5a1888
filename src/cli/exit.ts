/** `wstun exit`: runs a named exit until a signal, or a fault that no retry could mend. */
import { existsSync } from 'node:fs';
import { serveControl } from '../app/control.ts';
import { type Exit, type ExitEvents, type ExitOptions, placeChange, startExit } from '../app/exit.ts';
import type { ProxyOptions } from '../app/proxy-options.ts';
import { decodeInvite } from '../crypto/invite.ts';
import { WstunError } from '../errors.ts';
import { isRegistered, requireRegistration } from '../state/registration-file.ts';
import { type Following, followConfig } from './config/follow.ts';
import { concernsWay, LIVE_KEYS } from './config/live.ts';
import type { Settled } from './config/settle.ts';
import { type ConfirmOptions, confirm } from './confirm.ts';
import { type DialTexts, dialOptions } from './dial-options.ts';
import { findInvite, type InviteOptions } from './find-invite.ts';
import { stateDirFor } from './find-state.ts';
import { isInForeground } from './foreground.ts';
import { followHangups } from './hangups.ts';
import { canPrompt, promptForInvite } from './invite-prompt.ts';
import { OutageReport } from './outage-report.ts';
import { type Output, type OutputOptions, runWithOutput } from './output.ts';
import { proxyOptions } from './proxy-options.ts';
import { type ReachTexts, reachOptions } from './reach-options.ts';
import { reportRoute } from './route-report.ts';
import { ServingScreen } from './serving-screen.ts';
import { shellQuote } from './shell.ts';
import { firstSignal } from './shutdown.ts';
import { onEachLine } from './tether.ts';

interface ExitCommand
  extends OutputOptions,
    InviteOptions,
    DialTexts,
    ConfirmOptions,
    ProxyOptions,
    ReachTexts,
    Pick<ExitOptions, 'transport' | 'admin'> {
  readonly state?: string;
  /** Milliseconds. */
  readonly resumeWindow?: number;
  readonly once?: boolean;
}

/** @param given the arguments, joined */
export function runExit(settled: Settled, given: string | undefined): Promise<void> {
  const settledOptions = settled.options as unknown as ExitCommand;
  const options: ExitCommand = { ...settledOptions, invite: given ?? settledOptions.invite };
  return runWithOutput(options, (output) => run(options, output, settled));
}

async function run(options: ExitCommand, output: Output, settled: Settled): Promise<NodeJS.Signals | undefined> {
  for (const warning of settled.warnings) output.logger.warn({}, warning);
  const state = stateDirFor('exit', options);
  const invite = (await findInvite(options)) ?? (await askForInvite(state, output));
  // Nothing is made where there is nothing to keep yet.
  if (invite === undefined && !existsSync(state)) throw missingInvite();
  if (invite !== undefined) await confirmOther(state, invite, options);
  const outage = new OutageReport(output);
  const exit: Exit = await startExit({
    ...dialOptions(options),
    ...proxyOptions(options),
    ...reachOptions(options),
    ...(invite !== undefined && { invite }),
    ...(options.resumeWindow !== undefined && { resumeWindowMs: options.resumeWindow }),
    ...(options.transport !== undefined && { transport: options.transport }),
    ...(options.admin && { admin: options.admin }),
    once: options.once === true,
    state,
    events: reports(output, outage, () => exit),
    logger: output.logger,
  }).catch((error: unknown) => {
    throw error instanceof WstunError && error.fault === 'invite-missing' ? missingInvite() : error;
  });
  const config = followConfig({ settled, output, live: LIVE_KEYS.exit, apply: applyTo(exit, output) });
  followHangups(() => {
    output.logger.debug({ change: 'asked' }, 'the network may have changed');
    void config.reload();
    exit.reconnect();
  });
  const control = serveControl({
    ...{ role: 'exit', state: exit.state, logger: output.logger },
    status: () => exit.status(),
  });
  const screen = showScreen(exit, output, outage, options.inviteFile !== '-');
  const close = (graceMs?: number) => {
    outage.handleOver();
    return exit.close(graceMs);
  };
  const ended = exit.ended.then(
    () => ({}),
    (error: unknown) => ({ error }),
  );
  const signalled = firstSignal(() => close(0), output).then((signal) => ({ signal }));
  const end: { error?: unknown; signal?: NodeJS.Signals } = await Promise.race([ended, signalled]);
  if (end.error instanceof WstunError) output.sayFault(end.error);
  // Sessions that stand are as good as before, whatever ends the registration: they too may end by themselves.
  screen.showClosing(end.error instanceof WstunError ? end.error : undefined);
  await close();
  await control.close();
  if (end.error !== undefined) throw end.error;
  return end.signal;
}

function applyTo(exit: Exit, output: Output): Following['apply'] {
  return async (changed, keys) => {
    const options = changed as unknown as ExitCommand;
    const { resumeWindow: resumeWindowMs, verbose = false } = options;
    const { publicAddresses: _fixed, ...dial } = dialOptions(options);
    const way = { ...proxyOptions(options), ...reachOptions(options) };
    await exit.update({ ...way, ...dial, ...(resumeWindowMs !== undefined && { resumeWindowMs }) });
    output.setVerbose(verbose);
    if (concernsWay(keys)) exit.reconnect();
  };
}

function reports(output: Output, outage: OutageReport, exit: () => Exit): ExitEvents {
  return {
    onRegistered: ({ relay, first }) => {
      outage.handleOver();
      if (first) return showReady(output, exit(), relay);
      output.event({ event: 'connected' });
      output.say('registered again');
    },
    onPartlyRegistered: ({ taken, of, relay }) => {
      outage.handleOver();
      output.event({ event: 'partly-registered', keys: taken, of, relay });
      output.say(`the relay accepts only ${taken} of this exit's ${of} clients at the moment. It rejects the others.`);
    },
    // The log tells it to people.
    onRelay: ({ relay, registered, error, sameAs }) => {
      const why = error && { code: error.code, message: error.message };
      output.event({ event: 'relay', relay, registered, sameAs, ...why });
      output.live?.refresh();
    },
    onRoute: (notice) => reportRoute(notice, output, outage),
    onFailed: (error, waitMs) => outage.handleFailed(error, waitMs),
  };
}

/** The first time, if somebody is there to paste it. */
async function askForInvite(state: string, { json }: Output): Promise<string | undefined> {
  if (isRegistered(state) || json || !canPrompt()) return undefined;
  return await promptForInvite('Paste the invite for this exit', (text) => {
    requireRegistration(decodeInvite(text));
  });
}

/** Under another name, or at another relay, nobody is let in by the invites that were made here so far. */
async function confirmOther(state: string, invite: string, options: ConfirmOptions): Promise<void> {
  const change = await placeChange(state, invite);
  if (change === undefined) return;
  const { from, to } = change;
  await confirm(`This exit is ${from}. If it becomes ${to}, the invites that it has issued stop working.`, options);
}

function showScreen(exit: Exit, output: Output, outage: OutageReport, isStdinFree: boolean): ServingScreen {
  const readsEnter = isStdinFree && process.stdin.isTTY === true && isInForeground();
  const screen = new ServingScreen(exit, { output, outage, readsEnter });
  const { relay, relays = relay === undefined ? [] : [relay] } = exit.status();
  const places = relays.map(({ address }) => address).join(', ');
  if (output.live === undefined && places !== '') output.say(`connecting to ${places} …`);
  screen.begin();
  const handleEnter = () => {
    output.live?.handleEnter();
    if (outage.current !== undefined) exit.reconnect();
  };
  if (readsEnter) onEachLine(process.stdin, handleEnter);
  return screen;
}

function missingInvite(): WstunError {
  return new WstunError('invite-missing', '', {
    fix: "Pass it as an argument, with --invite-file FILE, or in $WSTUN_INVITE. The relay's owner creates one with: wstun access add NAME --role exit.",
  });
}

function showReady(output: Output, { name, state, admin }: Exit, relay: string): void {
  output.event({ event: 'ready', role: 'exit', name, relay, ...(admin && { admin }) });
  output.say(`the exit "${name}" is registered at ${relay}`);
  output.say(`Its keys, its access list and its invite are in ${state}.`);
  output.say(`Create an invite with: wstun access add NAME --state ${shellQuote(state)}`);
}
