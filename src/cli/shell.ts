/** Writes words and lines for shells. Pure. */

/** One word for a POSIX shell, quoted if the shell would split or change it. */
export function shellQuote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

export const SHELLS = ['sh', 'fish', 'powershell'] as const;
export type Shell = (typeof SHELLS)[number];

/** A line for each variable; each holds for what is started from that shell afterwards. */
export function exportLines(shell: Shell, variables: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(variables).map(([name, value]) => exportLine(shell, name, value));
}

function exportLine(shell: Shell, name: string, value: string): string {
  switch (shell) {
    case 'sh':
      return `export ${name}=${shellQuote(value)}`;
    case 'fish':
      return `set -gx ${name} '${value.replace(/['\\]/g, '\\$&')}'`;
    case 'powershell':
      // It takes curved quotes for straight ones.
      return `$env:${name} = '${value.replace(/['‘’‚‛]/g, '$&$&')}'`;
  }
}

export function unsetLines(shell: Shell, names: readonly string[]): readonly string[] {
  switch (shell) {
    case 'sh':
      return [`unset ${names.join(' ')}`];
    case 'fish':
      return [`set -e ${names.join(' ')}`];
    case 'powershell':
      return names.map((name) => `Remove-Item Env:${name} -ErrorAction SilentlyContinue`);
  }
}

/** By which a shell takes over what a command prints. */
export function evaluation(shell: Shell, command: string): string {
  switch (shell) {
    case 'sh':
      return `eval "$(${command})"`;
    case 'fish':
      return `${command} --shell fish | source`;
    case 'powershell':
      return `${command} --shell powershell | Out-String | Invoke-Expression`;
  }
}
