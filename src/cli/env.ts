/** `wstun env`: lines for a shell, on stdout; what is to be known about them, on stderr. */
import type { HostPort } from '../net/host-port.ts';
import { formatHostPort } from '../net/host-port.ts';
import { ENVIRONMENT_NAMES, proxyEnvironment } from '../programs/proxy-environment.ts';
import { printLine } from './output.ts';
import { lookAt, runningProxy } from './program-proxy.ts';
import { evaluation, exportLines, type Shell, unsetLines } from './shell.ts';

export interface EnvOptions {
  readonly shell: Shell;
  readonly listen?: HostPort;
  readonly user?: { readonly user: string; readonly pass: string };
  readonly socks: boolean;
  readonly unset?: boolean;
}

export async function runEnv({ shell, listen, user, socks, unset = false }: EnvOptions): Promise<void> {
  if (unset) return print(shell, unsetLines(shell, ENVIRONMENT_NAMES));
  const address = await runningProxy(listen);
  const found = await lookAt(address, user);
  if (found === 'absent') {
    const at = formatHostPort(address);
    process.stderr.write(`wstun: no client listens at ${at} now; these lines are for one that will: wstun client\n`);
  }
  // One that is started with the same $WSTUN_USER will require it.
  const credentials = found === 'open' ? undefined : user;
  print(shell, exportLines(shell, proxyEnvironment({ address, credentials, socks })));
}

function print(shell: Shell, lines: readonly string[]): void {
  for (const line of lines) printLine(line);
  if (process.stdout.isTTY === true)
    process.stderr.write(`wstun: to use these lines in this shell: ${evaluation(shell, 'wstun env')}\n`);
}
