/** All commands that have settings. Loaded when one of them runs. */
import type { Command } from 'commander';
import { clientCommand } from '../commands/client.ts';
import { exitCommand } from '../commands/exit.ts';
import { relayCommand } from '../commands/relay.ts';
import { type Role, type Setting, settingsOf } from './settings.ts';
import { type Settled, settle } from './settle.ts';

export const COMMANDS: Readonly<Record<Role, () => Command>> = {
  client: clientCommand,
  relay: relayCommand,
  exit: exitCommand,
};

export function allSettings(): Readonly<Record<Role, readonly Setting[]>> {
  const of = (role: Role) => settingsOf(COMMANDS[role]());
  return { client: of('client'), relay: of('relay'), exit: of('exit') };
}

/** The same of a command that has options of its own beside some of the client's. @throws WstunError as of `settle` */
export async function settleLikeClient(command: Command): Promise<Settled> {
  return await settle({ role: 'client', command, environment: process.env, settings: allSettings() });
}

/** What a parsed command runs with. @throws WstunError as of `settle` */
export async function settleCommand(role: Role, command: Command): Promise<Settled> {
  const settings = { ...allSettings(), [role]: settingsOf(command) };
  return await settle({ role, command, environment: process.env, settings });
}
