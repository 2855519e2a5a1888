/** Which invite `wstun client` uses, and what it keeps of it. Only an invite that a person gave is kept. */
import { DEFAULT_PROFILE, type Place, Profiles, placeOfInvite } from '../app/profiles.ts';
import { decodeInvite } from '../crypto/invite.ts';
import { PREFIX } from '../crypto/pasted-text.ts';
import { type FaultName, WstunError } from '../errors.ts';
import type { Settled } from './config/settle.ts';
import { ask, isWatched } from './confirm.ts';
import { findInvite, type InviteOptions } from './find-invite.ts';
import { canPrompt, promptForInvite } from './invite-prompt.ts';
import type { Output } from './output.ts';
import { shellQuote } from './shell.ts';

export interface KeepOptions extends InviteOptions {
  /** The invite that a variable or the configuration file has. */
  readonly configured?: string;
  /** The name under which the invite is kept, or was. */
  readonly as?: string;
  /** False: nothing is written. */
  readonly keep?: boolean;
  readonly yes?: boolean;
}

/** Proved by the other end: with this invite there is no session any more. */
const ACCESS_GONE: readonly FaultName[] = ['access-removed', 'keys-rotated'];

export function isAccessGone(error: unknown): boolean {
  return error instanceof WstunError && ACCESS_GONE.includes(error.fault);
}

/** An invite in use. None of its functions rejects. */
export interface ClientInvite {
  /** As it was at first. */
  readonly text: string;
  /** Under which it is kept, or is about to be. */
  readonly name: string | undefined;
  /** The client runs with it: it is kept from now on. */
  keep(): Promise<void>;
  /** It has had a session. */
  prove(): Promise<void>;
  /** Its exit has told of other relays: `next` is the same invite with these. */
  learn(next: string): Promise<void>;
  /** Its access is gone. */
  giveUp(): Promise<void>;
}

interface Given {
  readonly text: string;
  /** The name under which to keep it; undefined: not at all. */
  readonly name: string | undefined;
}

/**
 * What a command was given, of the client's options. What is typed counts more than what a file or a variable says.
 * @param invite what its argument says
 */
export function keepOptions({ options, values }: Settled, invite: string | undefined): KeepOptions {
  const { invite: configured, inviteFile, as, keep, yes } = options as Omit<KeepOptions, 'configured'>;
  const isTyped = (option: string) => values.some(({ origin }) => origin === option);
  const isNamed = isTyped('--as') && invite === undefined;
  return {
    invite,
    ...(configured !== undefined && !isNamed && { configured }),
    ...(inviteFile !== undefined && (!isNamed || isTyped('--invite-file')) && { inviteFile }),
    ...(as !== undefined && { as }),
    ...(keep !== undefined && { keep }),
    ...(yes !== undefined && { yes }),
  };
}

/**
 * @throws WstunError invite-missing, the faults of invites, profile-unknown, profile-unusable, profile-ambiguous,
 * profile-taken, bad-name, bad-option
 */
export async function chooseInvite(options: KeepOptions, state: string, output: Output): Promise<ClientInvite> {
  const profiles = new Profiles(state);
  const { keep = true } = options;
  const named = await namedProfile(options, profiles);
  const given = named.isOnlyNamed ? undefined : await givenInvite(options);
  if (given !== undefined) {
    requireClient(given.text);
    const name = await nameToKeep(given, options, profiles, output);
    const known = name === undefined ? undefined : await profiles.sameUnder(name, given.text);
    return inUse(known ?? given.text, name, profiles, output);
  }
  const chosen = await profiles.choose(named.name);
  if (chosen !== undefined) {
    const { name, invite } = chosen;
    if (name !== DEFAULT_PROFILE || !chosen.tried) output.say(describeChoice(chosen, placeOfInvite(invite)));
    return { ...inUse(invite, keep ? name : undefined, profiles, output, true), name };
  }
  const name = named.name ?? DEFAULT_PROFILE;
  if (!canPrompt() || output.json) throw await missing(named.name, profiles);
  const text = await promptForInvite(
    name === DEFAULT_PROFILE ? 'Paste your invite' : `Paste the invite to keep as "${name}"`,
    requireClient,
  );
  return inUse(text, keep ? name : undefined, profiles, output);
}

/** `--as work` alone, or `wstun client work`, where that cannot be anything else. */
async function namedProfile(
  { as, invite, inviteFile, configured }: KeepOptions,
  profiles: Profiles,
): Promise<{ readonly name: string | undefined; readonly isOnlyNamed: boolean }> {
  const isWord = invite !== undefined && !invite.includes(PREFIX) && (await profiles.names()).includes(invite);
  if (isWord && as !== undefined && as !== invite)
    throw new WstunError('bad-option', `there are two names of kept invites: ${invite} and ${as}`);
  if (isWord) return { name: invite, isOnlyNamed: true };
  return { name: as, isOnlyNamed: (invite ?? inviteFile ?? configured) === undefined };
}

/** Whoever has it in a file or in the environment has kept it there: a container may have nowhere else to write. */
async function givenInvite(options: KeepOptions): Promise<Given | undefined> {
  const { as, invite: argument, inviteFile, configured, keep = true } = options;
  const text = (await findInvite(options)) ?? configured;
  if (text === undefined) return undefined;
  const isTyped = (argument ?? inviteFile) !== undefined;
  const name = as ?? (argument === undefined ? undefined : DEFAULT_PROFILE);
  return { text, name: keep && isTyped ? name : undefined };
}

/** The invite of somebody else replaces none that is kept, unless a person says so. */
async function nameToKeep(
  { text, name }: Given,
  { as, yes = false }: KeepOptions,
  profiles: Profiles,
  output: Output,
): Promise<string | undefined> {
  if (name === undefined) return undefined;
  const other = await profiles.otherUnder(name, text);
  if (other === undefined || yes) return name;
  const instead = `To keep it too, add --as NAME; to replace the other, add --yes.`;
  const notKept = `this invite is used now, but not kept: "${name}" is the invite for ${placeText(other)}. ${instead}`;
  if (isWatched() && !output.json) {
    const before = `The invite kept as "${name}" is for ${placeText(other)}.`;
    const now = other.hasSameAddress
      ? 'This one is for the same address, but for other keys: continue only if the owner has changed the keys.'
      : `This one is for ${placeText(placeOfInvite(text))}.`;
    if (await ask(`${before} ${now} Replace it?`)) return name;
  } else if (as !== undefined) throw new WstunError('profile-taken', `"${name}" is the invite for ${placeText(other)}`);
  output.say(notKept);
  return undefined;
}

/** @param isKept it comes from there */
function inUse(
  text: string,
  name: string | undefined,
  profiles: Profiles,
  output: Output,
  isKept = false,
): ClientInvite {
  const nothing = () => Promise.resolve();
  if (name === undefined) return { text, name, keep: nothing, prove: nothing, learn: nothing, giveUp: nothing };
  let current = text;
  const later = name === DEFAULT_PROFILE ? 'wstun client' : `wstun client --as ${shellQuote(name)}`;
  const attempt = (what: string, work: () => Promise<void>) => async () => {
    await work().catch((error: unknown) => {
      if (!(error instanceof WstunError)) throw error;
      output.say(`${what}: ${error.fault === 'profiles-full' ? error.message : error.detail}`);
    });
  };
  return {
    ...{ text, name },
    keep: attempt('this invite could not be kept', async () => {
      if (isKept || !(await profiles.keep(name, text))) return;
      output.event({ event: 'kept', name });
      output.say(`this invite is kept as "${name}"; next time "${later}" is enough`);
    }),
    prove: attempt('the use of this invite could not be noted', async () => {
      if (await profiles.prove(name, current))
        output.say(`this invite works, and has replaced the one that was kept as "${name}"`);
    }),
    learn: (next) =>
      attempt('the relays that the exit has told of could not be kept', async () => {
        const isKept = await profiles.learn(name, current, next);
        current = next;
        if (isKept) output.say(`the invite kept as "${name}" is from now on for ${placeText(placeOfInvite(next))}`);
      })(),
    giveUp: attempt('the earlier invite could not be restored', async () => {
      if (await profiles.dropUntried(name, current))
        output.say(`this invite never worked; next time "${later}" uses the one before it`);
    }),
  };
}

function requireClient(text: string): void {
  if (decodeInvite(text).role === 'exit') throw new WstunError('invite-for-exit');
}

async function missing(name: string | undefined, profiles: Profiles): Promise<WstunError> {
  return name === undefined
    ? new WstunError('invite-missing')
    : new WstunError('profile-unknown', await profiles.listed());
}

interface Choice {
  readonly name: string;
  readonly tried: boolean;
  readonly replaces: boolean;
}

function describeChoice({ name, tried, replaces }: Choice, place: Place): string {
  const text = `using the invite kept as "${name}", for ${placeText(place)}`;
  if (tried) return text;
  const back = replaces ? `; to go back to the one before it: wstun forget ${shellQuote(name)} --untried` : '';
  return `${text}; it has had no session yet${back}`;
}

/** `relay.example.org`, or `the exit "home" at relay.example.org`. */
export function placeText({ relayUrls, exit }: Place): string {
  const hosts = relayUrls.map((url) => new URL(url).host).join(' or ');
  return exit === undefined ? hosts : `the exit "${exit}" at ${hosts}`;
}
