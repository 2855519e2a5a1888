/** `wstun help exit-codes`. */
import { EXIT_CODE } from '../../errors.ts';

const code = (number: number): string => String(number).padStart(3);

export const exitCodes = (): string => `Exit codes

${code(0)}  It did what was asked, or SIGINT or SIGTERM stopped it.
${code(EXIT_CODE.internal)}  A defect in wstun (WSTUN-E900). Please report it.
${code(EXIT_CODE.usage)}  An option or an argument is wrong.
${code(EXIT_CODE.network)}  The other end cannot be reached at the moment.
${code(EXIT_CODE.protocol)}  The two ends do not understand each other: install the same version.
${code(EXIT_CODE.access)}  The invite was revoked, or is older than the keys of its relay or exit.
${code(EXIT_CODE.config)}  A file or the state directory is wrong.
126  \`wstun run\` could not start the program, and 127: there is no such program.
130  A second SIGINT ended it before it had closed its sessions, or one while a
     name was looked up, which nothing can cancel. 143: the same by SIGTERM.

The message before the end has a code, such as (WSTUN-E203), which never changes
its meaning: wstun explain E203. All of them: wstun explain --list.

A running client or exit does not end because the relay cannot be reached: it
tries again for as long as it runs. It ends only where that is proved to be
useless: the keys were changed (WSTUN-E215), the protocol has another version
(WSTUN-E402), or the invite stayed revoked for a minute (WSTUN-E207).

For scripts, --once ends a client or an exit with the code of its first failure
or, once connected, of the first failure that lasts ten seconds.

With systemd, let a unit restart on all but the codes that no restart mends:
  RestartPreventExitStatus=${EXIT_CODE.usage} ${EXIT_CODE.protocol} ${EXIT_CODE.access} ${EXIT_CODE.config}
`;
