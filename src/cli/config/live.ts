/** Which settings can change while a command runs: those that `update` of the library takes, and what is logged. */

/** How the relay is reached. */
const WAY_KEYS: readonly string[] = [
  ...['proxy', 'proxy-auth-file', 'proxy-auth-command', 'tls-ca', 'tls-pin', 'tls-cert', 'tls-key', 'sni', 'host'],
  ...['connect-to', 'header', 'user-agent', 'source', 'ipv4', 'ipv6', 'prefer'],
];

export const LIVE_KEYS = {
  client: new Set(['verbose', 'user', 'allow-lan', ...WAY_KEYS]),
  relay: new Set(['verbose', 'trust-proxy', 'decoy', 'max-pending-per-address', 'resume-window', 'dns', 'via']),
  exit: new Set(['verbose', 'resume-window', 'dns', 'via', ...WAY_KEYS]),
} as const satisfies Readonly<Record<string, ReadonlySet<string>>>;

/** Whether the links of now should follow such a change, too. */
export function concernsWay(keys: ReadonlySet<string>): boolean {
  return WAY_KEYS.some((key) => keys.has(key));
}
