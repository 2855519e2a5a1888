/** Words of commands that wstun prints, so that they work as they are printed. Pure. */

/** One word for a POSIX shell: quoted where it would be more, or something else. */
export function shellQuote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
