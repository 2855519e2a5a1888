/** `wstun exit`: a named exit that registers at a relay, and dials for the clients that it invites itself. */
import { existsSync } from 'node:fs';
import { AccessControl, followAccess } from '../app/access-control.ts';
import { watchDescriptors } from '../app/descriptor-guard.ts';
import { createSessions, loadKeys } from '../app/dialing-sessions.ts';
import { type DialOptions, diallingOf } from '../app/dialling.ts';
import { accessFile } from '../app/invites.ts';
import { MemoryGuard } from '../app/memory-guard.ts';
import { encodeBase64url } from '../crypto/base64url.ts';
import { decodeInvite } from '../crypto/invite.ts';
import { WstunError } from '../errors.ts';
import { watchIdentity } from '../state/identity-file.ts';
import { readLimits } from '../state/limits-file.ts';
import {
  type Registration,
  readRegistration,
  requireRegistration,
  saveRegistration,
} from '../state/registration-file.ts';
import { readRelayUrl } from '../state/relay-settings.ts';
import { markRunning } from '../state/running.ts';
import { openStateDir, type StateDir } from '../state/state-dir.ts';
import { openUsage } from '../state/usage-file.ts';
import { MAX_ANNOUNCED_KEYS } from '../transport/control-messages.ts';
import { TicketDialer } from '../tunnel/dial/ticket-dialer.ts';
import { ExitRegistration } from '../tunnel/session/exit-registration.ts';
import { type ConfirmOptions, confirm } from './confirm.ts';
import { findInvite, type InviteOptions } from './find-invite.ts';
import { stateDirFor } from './find-state.ts';
import { followNetwork } from './follow-network.ts';
import { OutageReport } from './outage-report.ts';
import { Output, type OutputOptions } from './output.ts';
import { shellQuote } from './shell.ts';
import { DRAIN_MS, firstSignal } from './shutdown.ts';

/** A handful of clients with all the streams that a session may have. */
const DESCRIPTORS_NEEDED = 4_096;

interface ExitOptions extends OutputOptions, InviteOptions, DialOptions, ConfirmOptions {
  readonly state?: string;
  /** Milliseconds. */
  readonly resumeWindow?: number;
  readonly once?: boolean;
}

export async function runExit(options: ExitOptions): Promise<void> {
  const output = new Output(options);
  const given = await findRegistration(options);
  const path = stateDirFor('exit', options);
  // Nothing is made where there is nothing to keep yet.
  if (given === undefined && !existsSync(path)) throw missingInvite();
  const state = await openStateDir(path);
  if (given !== undefined) await confirmOther(state, given, options);
  const exit = await startExit(state, given, options, output);
  followNetwork((change) => {
    output.logger.debug({ change }, 'the network may have changed');
    exit.wake();
  });
  const ended = exit.ended.catch((error: unknown) => error);
  const error = await Promise.race([ended, firstSignal(() => exit.close(0)).then(() => undefined)]);
  if (error instanceof WstunError) output.sayEnded(error);
  // Sessions that stand are as good as before, whatever ends the registration: they too may end by themselves.
  output.say('wstun: draining; press Ctrl-C again to stop now');
  await exit.close(DRAIN_MS);
  if (error !== undefined) throw error;
}

interface RunningExit {
  /** Rejects when no further attempt could help. */
  readonly ended: Promise<void>;
  /** The network may have changed, or somebody asks: it registers anew at once. */
  wake(): void;
  close(graceMs: number): Promise<void>;
}

async function startExit(
  state: StateDir,
  given: Registration | undefined,
  options: ExitOptions,
  output: Output,
): Promise<RunningExit> {
  const { logger } = output;
  await refuseRelays(state);
  const unmark = await markRunning(state).catch((error: unknown) => goOnUnmarked(error, output));
  const registration = await settleRegistration(state, given);
  let keys = await loadKeys(state);
  const access = new AccessControl();
  const usage = await openUsage(state, logger);
  const limits = await readLimits(state);
  const memory = new MemoryGuard(limits.memory);
  const descriptors = watchDescriptors(logger, DESCRIPTORS_NEEDED);
  const { resumeWindow } = options;
  const dialling = diallingOf(options, logger);
  const serving = { access, usage, logger, ownPorts: () => [], ...dialling, resumeWindow, limits };
  const begin = () =>
    createSessions({
      ...serving,
      ...keys,
      isOverloaded: () => memory.isOver(),
      isShortOfDescriptors: () => descriptors.isShort(),
    });
  let sessions = begin();
  const { exitName: name } = registration;
  let first = true;
  const outage = new OutageReport(output);
  const atRelay = new ExitRegistration(
    new TicketDialer(registration, logger),
    {
      handleLink: (link) => sessions.serve(link),
      handleRegistered: (relay) => {
        outage.handleOver();
        if (first) showReady(output, name, relay, state.path);
        else showAgain(output);
        first = false;
      },
      handleSeen: (address) => dialling.publicAddresses.noteSeen(address),
      handleTaken: (taken, of) => {
        outage.handleOver();
        output.event({ event: 'partly-registered', keys: taken, of });
        output.say(
          `wstun: the relay accepts only ${taken} of this exit's ${of} clients at the moment. It rejects the others.`,
        );
      },
      handleLost: (error, waitMs) => outage.handleFailed(error, waitMs),
    },
    logger,
    { once: options.once === true },
  );
  // Who has an old invite must reach us to be told so.
  const announce = () => {
    const all = [...access.entries, ...keys.retired.flatMap((old) => access.retiredPeers(old))];
    const clients = all.filter(({ role }) => role === 'client').slice(0, MAX_ANNOUNCED_KEYS);
    atRelay.setPeers([...new Set(clients.map(({ key }) => encodeBase64url(key.gate)))]);
  };
  const watch = await followAccess(accessFile(state), access, logger, (kept) => {
    sessions.keepOnly(kept);
    announce();
  });
  const onRotated = async () => {
    keys = await loadKeys(state);
    const before = sessions;
    sessions = begin();
    before.endAll('keys-rotated');
    announce();
    logger.info({}, 'the keys were rotated');
  };
  const identityWatch = watchIdentity(state, keys.identity, onRotated, logger);
  return {
    ended: atRelay.run(),
    wake: () => atRelay.wake(),
    close: async (graceMs) => {
      outage.handleOver();
      await identityWatch.close();
      // From here on another may run.
      await unmark();
      atRelay.close();
      await Promise.all([watch.close(), sessions.close(graceMs)]);
      await usage.close();
    },
  };
}

/** By the invite that was given; undefined where none was. */
async function findRegistration(options: InviteOptions): Promise<Registration | undefined> {
  const given = await findInvite(options);
  return given === undefined ? undefined : requireRegistration(decodeInvite(given));
}

async function refuseRelays(state: StateDir): Promise<void> {
  if ((await readRelayUrl(state)) === undefined) return;
  throw new WstunError('state-unusable', `${state.path} belongs to a relay, and an exit needs its own`);
}

/** A directory that cannot be written to, or a full disk, keeps no exit from running. */
function goOnUnmarked(error: unknown, output: Output): () => Promise<void> {
  if (!(error instanceof WstunError) || error.fault !== 'state-unusable') throw error;
  output.logger.warn(
    { code: error.code },
    `a second exit with this state directory would not be detected: ${error.message}`,
  );
  return async () => {};
}

/** The one that was given, remembered from now on; else the one from the last time. */
async function settleRegistration(state: StateDir, given: Registration | undefined): Promise<Registration> {
  if (given !== undefined) await saveRegistration(state, given);
  const registration = given ?? (await readRegistration(state));
  if (registration === undefined) throw missingInvite();
  return registration;
}

/** Under another name, or at another relay, nobody is let in by the invites that were made here so far. */
async function confirmOther(state: StateDir, given: Registration, options: ConfirmOptions): Promise<void> {
  // One that cannot be read is about to be replaced.
  const before = await readRegistration(state).catch(() => undefined);
  if (before === undefined || isSamePlace(before, given)) return;
  if ((await accessFile(state).read()).length === 0) return;
  const [from, to] = [before, given].map(({ exitName, relayUrls: [url] }) => `"${exitName}" at ${url}`);
  await confirm(`This exit is ${from}. If it becomes ${to}, the invites that it has issued stop working.`, options);
}

/** Rotated keys, or another URL of the same relay, change no place. */
function isSamePlace(one: Registration, other: Registration): boolean {
  const isSameRelay =
    Buffer.from(one.relayGateKey).equals(other.relayGateKey) ||
    one.relayUrls.some((url) => other.relayUrls.includes(url));
  return one.exitName === other.exitName && isSameRelay;
}

function missingInvite(): WstunError {
  return new WstunError('invite-missing', '', {
    fix: "Pass it as an argument, with --invite-file FILE, or in $WSTUN_INVITE. The relay's owner creates one with: wstun access add NAME --role exit.",
  });
}

function showAgain(output: Output): void {
  output.event({ event: 'connected' });
  output.say('wstun: registered again');
}

function showReady(output: Output, name: string, relay: string, state: string): void {
  output.event({ event: 'ready', role: 'exit', name, relay });
  output.say(`wstun exit "${name}" is registered at ${relay}`);
  output.say(`Create an invite with: wstun access add NAME --state ${shellQuote(state)}`);
}
