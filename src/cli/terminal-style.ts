/** What the terminal of a command can show, by the environment. Pure. */

interface StyleInput {
  readonly isTTY: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface TerminalStyle {
  /** Lines may be rewritten. */
  readonly isLive: boolean;
  /** https://no-color.org: a variable that is set and not empty. FORCE_COLOR is heeded where there is no terminal. */
  readonly hasColours: boolean;
}

export function terminalStyle({ isTTY, env }: StyleInput): TerminalStyle {
  const isSet = (name: string) => (env[name] ?? '') !== '';
  const isDumb = env.TERM === 'dumb';
  const isForced = isSet('FORCE_COLOR') && env.FORCE_COLOR !== '0';
  const inCi = isSet('CI') && env.CI !== 'false';
  return {
    isLive: isTTY && !isDumb && !inCi,
    hasColours: !isSet('NO_COLOR') && (isForced || (isTTY && !isDumb)),
  };
}
