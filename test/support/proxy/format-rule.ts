/** The text of an access rule, from which `parseRule` makes the same rule. */
import type { Rule } from '../../../src/exit/rules.ts';
import { formatIp } from '../../../src/net/ip.ts';

export function formatRule({ host, ports }: Rule): string {
  const text = formatRuleHost(host);
  if (ports === 'all') return text;
  const ranges = ports.map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`));
  return `${text}:${ranges.join(',')}`;
}

function formatRuleHost(host: Rule['host']): string {
  if (host.kind === 'any') return '*';
  if (host.kind === 'name') return host.name;
  if (host.kind === 'below') return `*.${host.name}`;
  const { base, bits } = host.network;
  const text = bits === 8 * base.length ? formatIp(base) : `${formatIp(base)}/${bits}`;
  return base.length === 4 ? text : `[${text}]`;
}
