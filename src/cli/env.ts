/** `wstun env`: lines for a shell, on stdout; what is to be known about them, on stderr. */
import type { Command } from 'commander';
import { WstunError } from '../errors.ts';
import { formatHostPort } from '../net/host-port.ts';
import { ENVIRONMENT_NAMES, proxyEnvironment } from '../programs/proxy-environment.ts';
import { printLine } from './output.ts';
import { findClientProxy, readWish } from './program-proxy.ts';
import { evaluation, exportLines, type Shell, unsetLines } from './shell.ts';

interface EnvOptions {
  readonly shell: Shell;
  readonly socks: boolean;
  readonly unset?: boolean;
}

export async function runEnv(command: Command): Promise<void> {
  const { shell, socks, unset = false } = command.opts<EnvOptions>();
  if (unset) return print(shell, unsetLines(shell, ENVIRONMENT_NAMES));
  const wish = await readWish(command);
  const found = await findClientProxy(wish);
  const { listen, user, as } = wish.settings;
  if (found === undefined) {
    if (as !== undefined && wish.isTyped('as'))
      throw new WstunError('not-running', `no client with the invite kept as "${as}"`, {
        fix: `Start it: wstun client --as ${as}.`,
      });
    const at = formatHostPort(listen);
    process.stderr.write(`wstun: no client listens at ${at} now; these lines are for one that will: wstun client\n`);
  }
  // One that is started with the same $WSTUN_USER will require it.
  const { address, credentials } = found ?? { address: listen, credentials: user };
  print(shell, exportLines(shell, proxyEnvironment({ address, credentials, socks })));
}

function print(shell: Shell, lines: readonly string[]): void {
  for (const line of lines) printLine(line);
  if (process.stdout.isTTY === true)
    process.stderr.write(`wstun: to use these lines in this shell: ${evaluation(shell, 'wstun env')}\n`);
}
