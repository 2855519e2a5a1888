/** Quotes words of commands that wstun prints. Pure. */

/** One word for a POSIX shell, quoted if the shell would split or change it. */
export function shellQuote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
